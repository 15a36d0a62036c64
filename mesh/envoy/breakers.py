"""Circuit breakers, retry budget and outlier ejection of a cluster.

A single endpoint is never ejected: ejecting one of one is 100 %, above `max_ejection_percent`; of two, one may go.
"""

from __future__ import annotations

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from mesh.envoy.packing import seconds
from mesh.policy.resilience import Budget, Ejection, Limits

_MOST_SHARE = 50.0
"""Per cent: where nothing stands by, some are left."""
_NEVER, _ALWAYS = UInt32Value(value=0), UInt32Value(value=100)


def circuit_breakers(limits: Limits, budget: Budget) -> CircuitBreakers:
    thresholds = CircuitBreakers.Thresholds(
        max_connections=UInt32Value(value=limits.connections),
        max_pending_requests=UInt32Value(value=limits.pending),
        max_requests=UInt32Value(value=limits.requests),
        # Without the floor a small service that loses an endpoint has no budget to retry with.
        retry_budget=CircuitBreakers.Thresholds.RetryBudget(
            budget_percent=Percent(value=budget.percent), min_retry_concurrency=UInt32Value(value=budget.floor)
        ),
    )
    return CircuitBreakers(thresholds=[thresholds])


def outlier_detection(ejection: Ejection | None) -> OutlierDetection | None:
    """What the network says is told from what the service says, so that each has its own count."""
    if ejection is None:
        return None
    most = _MOST_SHARE if ejection.max_share is None else ejection.max_share
    message = OutlierDetection(
        split_external_local_origin_errors=True,
        enforcing_consecutive_gateway_failure=_NEVER,
        enforcing_consecutive_local_origin_failure=_NEVER,
        enforcing_consecutive_5xx=_NEVER,
        enforcing_success_rate=_NEVER,
        enforcing_local_origin_success_rate=_NEVER,
        interval=seconds(ejection.interval),
        base_ejection_time=seconds(ejection.base_time),
        max_ejection_time=seconds(max(ejection.base_time, ejection.max_time)),
        max_ejection_percent=UInt32Value(value=round(most)),
        always_eject_one_host=BoolValue(value=False),
    )
    counts = {
        "consecutive_gateway_failure": ejection.gateway_failures,
        "consecutive_local_origin_failure": ejection.local_failures,
        "consecutive_5xx": ejection.consecutive_5xx,
    }
    for name, count in counts.items():
        if count is not None:
            getattr(message, name).CopyFrom(UInt32Value(value=count))
            getattr(message, f"enforcing_{name}").CopyFrom(_ALWAYS)
    if (rate := ejection.success_rate) is not None:
        message.enforcing_success_rate.CopyFrom(_ALWAYS)
        message.success_rate_stdev_factor.CopyFrom(UInt32Value(value=round(rate.stdev_factor * 1000)))
        message.success_rate_minimum_hosts.CopyFrom(UInt32Value(value=rate.minimum_hosts))
        message.success_rate_request_volume.CopyFrom(UInt32Value(value=rate.request_volume))
    return message
