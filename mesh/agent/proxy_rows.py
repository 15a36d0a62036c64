"""Which of Envoy's stats become which of our metrics. Nothing else of Envoy's is shown: so their number is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
PROXY, ROUTER, NAME, BOUND = "proxy", "router", "name", "bound"

_LABELS: Mapping[str, tuple[str, ...]] = {
    PROXY: (),
    ROUTER: ("router",),
    NAME: ("router", "name"),
    BOUND: ("bound",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """`join`: what several clusters of one bound name say together. `extra`: labels that Envoy has in the name."""

    subject: str
    envoy: str
    kind: str
    ours: str
    text: str
    by_class: bool = False
    join: Callable[[tuple[float, float]], float] = sum
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        return (*_LABELS[self.subject], *(("class",) if self.by_class else ()), *self.extra)


def _breaker(envoy: str, breaker: str) -> Row:
    return Row(
        BOUND,
        f"envoy_cluster_circuit_breakers_default_{envoy}_open",
        GAUGE, "tieline_bound_breaker_open",
        "1 while a limit of the bound name is reached.",
        join=max,
        extra={"breaker": breaker},
    )  # fmt: skip


def _grpc(status: int) -> Row:
    return Row(
        BOUND,
        f"envoy_cluster_grpc_{status}",
        COUNTER, "tieline_bound_grpc_calls",
        "gRPC calls by the status they ended with.",
        extra={"status": _GRPC[status]},
    )  # fmt: skip


_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

# fmt: off
ROWS = (
    Row(PROXY, "envoy_server_uptime", GAUGE, "tieline_proxy_uptime_seconds", "How long Envoy has run."),
    Row(PROXY, "envoy_server_memory_physical_size", GAUGE, "tieline_proxy_memory_bytes", "What Envoy's heap takes."),
    Row(ROUTER, "envoy_http_downstream_rq_xx", COUNTER, "tieline_router_requests",
        "Requests by class of status, refused ones too.", by_class=True),
    Row(ROUTER, "envoy_http_downstream_rq_time", HISTOGRAM, "tieline_router_request_duration_seconds",
        "From the beginning of a request to the end of its answer."),
    Row(ROUTER, "envoy_http_downstream_rq_active", GAUGE, "tieline_router_active_requests", "Requests under way."),
    Row(ROUTER, "envoy_http_downstream_cx_active", GAUGE, "tieline_router_connections", "Connections of callers."),
    Row(NAME, "envoy_vhost_route_upstream_rq_xx", COUNTER, "tieline_requests",
        "Requests to the name by class of status, as callers got it.", by_class=True),
    Row(NAME, "envoy_vhost_route_upstream_rq_time", HISTOGRAM, "tieline_request_duration_seconds",
        "From the end of a request to the end of its answer, retries included; of those that were answered."),
    Row(NAME, "envoy_vhost_route_upstream_rq_retry", COUNTER, "tieline_request_retries", "Requests sent again."),
    Row(NAME, "envoy_vhost_route_upstream_rq_timeout", COUNTER, "tieline_request_timeouts",
        "Requests that took longer than they may."),
    Row(BOUND, "envoy_cluster_upstream_rq_xx", COUNTER, "tieline_bound_requests",
        "Answers of the bound name by class of status, as callers got them.", by_class=True),
    Row(BOUND, "envoy_cluster_upstream_rq_time", HISTOGRAM, "tieline_bound_request_duration_seconds",
        "From the end of a request to the end of its answer, retries included; of those that were answered."),
    Row(BOUND, "envoy_cluster_upstream_rq_total", COUNTER, "tieline_bound_attempts", "Requests sent, retries too."),
    Row(BOUND, "envoy_cluster_upstream_rq_active", GAUGE, "tieline_bound_active_requests", "Requests under way."),
    Row(BOUND, "envoy_cluster_upstream_cx_active", GAUGE, "tieline_bound_connections", "Connections to endpoints."),
    Row(BOUND, "envoy_cluster_upstream_cx_connect_fail", COUNTER, "tieline_bound_connect_failures",
        "Connections that could not be opened."),
    Row(BOUND, "envoy_cluster_upstream_rq_timeout", COUNTER, "tieline_bound_timeouts",
        "Requests that took longer than they may."),
    Row(BOUND, "envoy_cluster_upstream_rq_retry", COUNTER, "tieline_bound_retries", "Requests sent again."),
    Row(BOUND, "envoy_cluster_upstream_rq_retry_overflow", COUNTER, "tieline_bound_retry_overflows",
        "Requests not sent again, because the budget of retries was used up."),
    Row(BOUND, "envoy_cluster_upstream_rq_pending_overflow", COUNTER, "tieline_bound_overflows",
        "Requests refused, because a limit was reached.", extra={"breaker": "pending"}),
    Row(BOUND, "envoy_cluster_upstream_rq_active_overflow", COUNTER, "tieline_bound_overflows",
        "Requests refused, because a limit was reached.", extra={"breaker": "requests"}),
    Row(BOUND, "envoy_cluster_outlier_detection_ejections_enforced_total", COUNTER, "tieline_bound_ejections",
        "Endpoints ejected."),
    Row(BOUND, "envoy_cluster_outlier_detection_ejections_active", GAUGE, "tieline_bound_ejected_endpoints",
        "Endpoints that are ejected now.", join=max),
    Row(BOUND, "envoy_cluster_membership_total", GAUGE, "tieline_bound_endpoints", "Endpoints known.", join=max),
    Row(BOUND, "envoy_cluster_membership_healthy", GAUGE, "tieline_bound_healthy_endpoints",
        "Endpoints that get requests: neither ejected nor sick.", join=max),
    *(_grpc(status) for status in range(len(_GRPC))),
    _breaker("cx", "connections"),
    _breaker("rq_pending", "pending"),
    _breaker("rq", "requests"),
    _breaker("rq_retry", "retries"),
)
# fmt: on

PATTERN = (
    r"^(server\.(uptime|memory_physical_size)"
    r"|http\.[^.]+\.downstream_(rq_([1-5]xx|time|active)|cx_active)"
    r"|vhost\..*\.upstream_rq_([1-5]xx|time|retry|timeout)"
    r"|cluster\..*\.(upstream_rq_([1-5]xx|time|total|active|timeout|retry|retry_overflow|(pending|active)_overflow)"
    r"|grpc\.[0-9]+|upstream_cx_(active|connect_fail)|outlier_detection\.ejections_(active|enforced_total)"
    r"|membership_(total|healthy)|circuit_breakers\.default\.(cx|rq_pending|rq|rq_retry)_open))$"
)
"""What Envoy is asked for: the stats behind ROWS, in its own spelling."""
