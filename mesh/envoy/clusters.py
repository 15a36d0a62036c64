"""A bound name's cluster: endpoints by EDS, and what its policy says of connections, load and health.

`update_merge_window` 0: the default holds an ejection back from the workers for a second, thousands of requests long.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache, lru_cache

from envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from envoy.config.core.v3.address_pb2 import TcpKeepalive
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.wrappers_pb2 import UInt32Value

from discovery.address import Protocol
from discovery.path import Path
from mesh.envoy.balancing import balance, check_health
from mesh.envoy.breakers import circuit_breakers, outlier_detection
from mesh.envoy.names import cluster_name, stat_name
from mesh.envoy.origination import client_socket
from mesh.envoy.packing import duration, packed, seconds
from mesh.policy.effective import BOUND_DEFAULTS, OfBoundName

UPSTREAM_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
EMPTY_CLUSTER_NAME = "/$/nil"

# Below what common servers use (Node and uvicorn close after 5 s): who closes first is not surprised by a request.
UPSTREAM_IDLE = timedelta(seconds=4)
BUFFER_BYTES = 256 * 1024


def cluster(
    id: Path, protocol: Protocol | None, name: str | None = None, policy: OfBoundName = BOUND_DEFAULTS
) -> Cluster:
    """`name`: another than the id's own. `protocol` None: with TLS what the two agree on (ALPN), else upstream as
    downstream, so that HTTP/2 callers reach HTTP/2 only."""
    name = name or cluster_name(id)
    message = Cluster()
    message.CopyFrom(_template(protocol, policy))
    http2 = protocol in (Protocol.HTTP2, Protocol.GRPC)
    # Envoy refuses to ask by gRPC who says that it speaks HTTP/1.1.
    if policy.health_check is not None and (http2 or policy.health_check.protocol != "grpc"):
        check_health(message, policy.health_check, host=id[-1], http2=http2)
    message.name = message.eds_cluster_config.service_name = name
    message.alt_stat_name = stat_name(name)
    if policy.tls is not None:
        message.transport_socket.CopyFrom(client_socket(policy.tls, id))
    return message


@cache
def empty_cluster() -> Cluster:
    """What a `$` branch of a union gets its share in: 503, no healthy upstream."""
    return Cluster(
        name=EMPTY_CLUSTER_NAME,
        type=Cluster.STATIC,
        connect_timeout=duration(timedelta(seconds=1)),
        load_assignment=ClusterLoadAssignment(cluster_name=EMPTY_CLUSTER_NAME),
    )


@lru_cache(maxsize=256)
def _template(protocol: Protocol | None, policy: OfBoundName) -> Cluster:
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
        connect_timeout=seconds(policy.connect_seconds),
        per_connection_buffer_limit_bytes=UInt32Value(value=BUFFER_BYTES),
        common_lb_config=Cluster.CommonLbConfig(
            healthy_panic_threshold=Percent(value=policy.balancing.panic_threshold),
            update_merge_window=duration(timedelta(0)),
        ),
        circuit_breakers=circuit_breakers(policy.limits, policy.budget),
        outlier_detection=outlier_detection(policy.ejection),
        ignore_health_on_host_removal=True,
        upstream_connection_options=UpstreamConnectionOptions(
            tcp_keepalive=TcpKeepalive(
                keepalive_probes=UInt32Value(value=3),
                keepalive_time=UInt32Value(value=30),
                keepalive_interval=UInt32Value(value=5),
            )
        ),
    )
    balance(message, policy.balancing)
    if protocol is not Protocol.TCP:
        message.typed_extension_protocol_options[UPSTREAM_HTTP].CopyFrom(
            packed(_upstream_http(protocol, agreed=policy.tls is not None))
        )
    return message


def _upstream_http(protocol: Protocol | None, *, agreed: bool) -> UpstreamHttp:
    h1, h2 = Http1ProtocolOptions(), Http2ProtocolOptions()
    options = UpstreamHttp(common_http_protocol_options=HttpProtocolOptions(idle_timeout=duration(UPSTREAM_IDLE)))
    match protocol:
        case Protocol.HTTP1:
            options.explicit_http_config.http_protocol_options.CopyFrom(h1)
        case Protocol.HTTP2 | Protocol.GRPC:
            options.explicit_http_config.http2_protocol_options.CopyFrom(h2)
        case _ if agreed:
            options.auto_config.http_protocol_options.CopyFrom(h1)
            options.auto_config.http2_protocol_options.CopyFrom(h2)
        case _:
            options.use_downstream_protocol_config.http_protocol_options.CopyFrom(h1)
            options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(h2)
    return options
