"""A bound name's cluster: endpoints by EDS, safe defaults until policies say otherwise.

A single endpoint is never ejected: ejecting one of one is 100 %, above `max_ejection_percent`; of two, one may go.
With `healthy_panic_threshold` 0 Envoy never sends to endpoints it knows to be bad, it answers 503 instead.
`update_merge_window` 0: the default holds an ejection back from the workers for a second, thousands of requests long.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.config.core.v3.address_pb2 import TcpKeepalive
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from discovery.address import Protocol
from discovery.path import Path
from mesh.envoy.names import cluster_name, stat_name
from mesh.envoy.packing import duration, packed

UPSTREAM_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
EMPTY_CLUSTER_NAME = "/$/nil"

CONNECT_TIMEOUT = timedelta(seconds=1)
# Below what common servers use (Node and uvicorn close after 5 s): who closes first is not surprised by a request.
UPSTREAM_IDLE = timedelta(seconds=4)
BUFFER_BYTES = 256 * 1024
MAX_CONCURRENT = 4096


def cluster(id: Path, protocol: Protocol | None, name: str | None = None) -> Cluster:
    """`name`: another than the id's own. `protocol` None: upstream as downstream, HTTP/2 callers reach HTTP/2 only."""
    name = name or cluster_name(id)
    message = Cluster()
    message.CopyFrom(_template(protocol))
    message.name = message.eds_cluster_config.service_name = name
    message.alt_stat_name = stat_name(name)
    return message


@cache
def empty_cluster() -> Cluster:
    """What a `$` branch of a union gets its share in: 503, no healthy upstream."""
    return Cluster(
        name=EMPTY_CLUSTER_NAME,
        type=Cluster.STATIC,
        connect_timeout=duration(CONNECT_TIMEOUT),
        load_assignment=ClusterLoadAssignment(cluster_name=EMPTY_CLUSTER_NAME),
    )


@cache
def _template(protocol: Protocol | None) -> Cluster:
    ads = ConfigSource(
        ads=AggregatedConfigSource(),
        resource_api_version=ApiVersion.V3,
        # A changed cluster waits for endpoints it does not ask for again; the session re-sends them. This bounds the
        # wait if one is lost: the default is 15 s, during which no other cluster can be added.
        initial_fetch_timeout=duration(timedelta(seconds=1)),
    )
    message = Cluster(
        type=Cluster.EDS,
        eds_cluster_config=Cluster.EdsClusterConfig(eds_config=ads),
        connect_timeout=duration(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes=UInt32Value(value=BUFFER_BYTES),
        lb_policy=Cluster.LEAST_REQUEST,
        # A full scan is better still (ENVOY measured 1 % against 4 % on a slow endpoint) but costs O(endpoints) a
        # request, and how many there will be is not known here.
        least_request_lb_config=Cluster.LeastRequestLbConfig(choice_count=UInt32Value(value=4)),
        common_lb_config=Cluster.CommonLbConfig(
            healthy_panic_threshold=Percent(value=0), update_merge_window=duration(timedelta(0))
        ),
        circuit_breakers=_circuit_breakers(),
        outlier_detection=_outlier_detection(),
        ignore_health_on_host_removal=True,
        upstream_connection_options=UpstreamConnectionOptions(
            tcp_keepalive=TcpKeepalive(
                keepalive_probes=UInt32Value(value=3),
                keepalive_time=UInt32Value(value=30),
                keepalive_interval=UInt32Value(value=5),
            )
        ),
    )
    if protocol is not Protocol.TCP:
        message.typed_extension_protocol_options[UPSTREAM_HTTP].CopyFrom(packed(_upstream_http(protocol)))
    return message


def _circuit_breakers() -> CircuitBreakers:
    limit = UInt32Value(value=MAX_CONCURRENT)
    budget = CircuitBreakers.Thresholds.RetryBudget(
        # Without the floor a small service that loses an endpoint has no budget to retry with.
        budget_percent=Percent(value=20),
        min_retry_concurrency=UInt32Value(value=100),
    )
    return CircuitBreakers(
        thresholds=[
            CircuitBreakers.Thresholds(
                max_connections=limit, max_pending_requests=limit, max_requests=limit, retry_budget=budget
            )
        ]
    )


def _outlier_detection() -> OutlierDetection:
    """Ejects on what the network or a gateway says. An application's own 500s are answers, not a dead endpoint."""
    five, never = UInt32Value(value=5), UInt32Value(value=0)
    always = UInt32Value(value=100)
    return OutlierDetection(
        consecutive_gateway_failure=five,
        enforcing_consecutive_gateway_failure=always,
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=five,
        enforcing_consecutive_local_origin_failure=always,
        enforcing_consecutive_5xx=never,
        enforcing_success_rate=never,
        enforcing_local_origin_success_rate=never,
        # Ejection is immediate; the interval says how often Envoy looks whether one may come back, for each cluster.
        interval=duration(timedelta(seconds=10)),
        base_ejection_time=duration(timedelta(seconds=5)),
        max_ejection_time=duration(timedelta(seconds=60)),
        max_ejection_percent=UInt32Value(value=50),
        always_eject_one_host=BoolValue(value=False),
    )


def _upstream_http(protocol: Protocol | None) -> UpstreamHttp:
    h1, h2 = Http1ProtocolOptions(), Http2ProtocolOptions()
    options = UpstreamHttp(common_http_protocol_options=HttpProtocolOptions(idle_timeout=duration(UPSTREAM_IDLE)))
    match protocol:
        case Protocol.HTTP1:
            options.explicit_http_config.http_protocol_options.CopyFrom(h1)
        case Protocol.HTTP2 | Protocol.GRPC:
            options.explicit_http_config.http2_protocol_options.CopyFrom(h2)
        case _:
            options.use_downstream_protocol_config.http_protocol_options.CopyFrom(h1)
            options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(h2)
    return options
