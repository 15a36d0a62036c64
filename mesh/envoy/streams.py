"""Routers of connections instead of requests: raw TCP to one name, and TLS by the server name that the caller asks for.

A name has one cluster of its own. What it is split over are localities with weights in it: when these change, open
connections stay. Weights in the listener would close them.

A TLS router tells names by the ClientHello and leaves the TLS alone. A server name that is bound goes to its cluster.
For any other Envoy asks the brain (`ext_authz`), which binds it first, or has the connection closed. Which names are
bound stands in the listener's matcher: a change of it leaves the filter chains, and so open connections, as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, Locality
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import ON_DOWNSTREAM_DATA, TcpProxy
from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import ServerNameInput
from envoy.type.v3.hash_policy_pb2 import HashPolicy
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue, UInt32Value
from xds.core.v3.extension_pb2 import TypedExtensionConfig as MatcherExtension
from xds.type.matcher.v3.matcher_pb2 import Matcher

from discovery.address import Endpoint, Protocol
from discovery.path import Path
from mesh.envoy import clusters
from mesh.envoy.clusters import BUFFER_BYTES, EMPTY_CLUSTER_NAME
from mesh.envoy.endpoints import served
from mesh.envoy.listeners import ROUTER_METADATA
from mesh.envoy.names import XDS_CLUSTER, stat_name, stream_cluster
from mesh.envoy.packing import duration, packed, seconds, text
from mesh.envoy.sockets import keepalive
from mesh.policy.effective import BOUND_DEFAULTS, OfBoundName
from mesh.policy.settings import DEFAULTS, Settings

_ASK = "ask"
_SERVER_NAME = "%REQUESTED_SERVER_NAME%"
# Of what a caller sends while the brain binds its name. A ClientHello has a few hundred bytes, with post-quantum keys
# and tickets a few thousand; who sends more is made to wait.
_EARLY_BYTES = 16 * 1024
# Envoy refuses a shorter one.
_LEAST_PAUSE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Branch:
    """What one bound name gets: a share of the connections, in proportion to the `weight` of the others of its
    priority. 0 is the highest; the next serves while those before can't."""

    id: Path
    weight: int
    endpoints: tuple[Endpoint, ...]
    priority: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Connections:
    """What a policy says of connections. `idle_seconds`: 0 is for ever. `attempts`: to open one at an endpoint;
    `pauses`: before the second, and the longest, in seconds."""

    idle_seconds: float
    attempts: int
    pauses: tuple[float, float]
    by_source: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Where callers connect."""

    name: str
    address: str
    port: int


def connections(settings: Settings) -> Connections:
    """The least busy endpoint is the dead one, again and again: so that a connection is not lost, there are attempts
    enough to have its endpoint ejected, and pauses in which the workers hear of it."""
    retries, ejection = settings.retries, settings.ejection
    again = retries.num_retries if "connect-failure" in retries.conditions else 0
    until_ejected = (ejection.local_failures or 0) if ejection else 0
    by_source = any(each.source for each in settings.balancing.hash_on)
    attempts = 1 + again + (until_ejected if again else 0)
    least = max(retries.backoff.base, _LEAST_PAUSE_SECONDS)
    pauses = least, max(least, retries.backoff.max)
    return Connections(settings.timeout.idle or 0, attempts, pauses, by_source)


CONNECTIONS = connections(DEFAULTS)


def cluster(name: str, path: Path, policy: OfBoundName = BOUND_DEFAULTS) -> Cluster:
    """`path`: of the name it is for."""
    message = clusters.cluster(path, Protocol.TCP, name, policy)
    message.common_lb_config.locality_weighted_lb_config.SetInParent()
    return message


def assignment(name: str, branches: Iterable[Branch], zone: str = "") -> ClusterLoadAssignment:
    """A locality for each bound name. `zone`: its endpoints come first within each priority, if there are any."""
    groups: dict[tuple[int, bool, Path], list[LbEndpoint]] = {}
    weights: dict[Path, int] = {}
    for branch in branches:
        weights[branch.id] = branch.weight
        for endpoint, built in served(branch.endpoints):
            is_far = bool(zone) and endpoint.zone != zone
            groups.setdefault((branch.priority, is_far, branch.id), []).append(built)
    # Envoy takes no assignment that leaves a priority out.
    ranks = {rank: number for number, rank in enumerate(sorted({key[:2] for key in groups}))}
    localities = [
        LocalityLbEndpoints(
            locality=Locality(zone=text(zone) if zone and not is_far else "", sub_zone=text(id.show())),
            lb_endpoints=groups[priority, is_far, id],
            load_balancing_weight=UInt32Value(value=weights[id]),
            priority=ranks[priority, is_far],
        )
        for priority, is_far, id in sorted(groups)
    ]
    return ClusterLoadAssignment(cluster_name=name, endpoints=localities)


def tcp_listener(stream: Stream, key: str, said: Connections = CONNECTIONS) -> Listener:
    proxy = _proxy(stream, stream_cluster(stream.name, key), said)
    return _listener(stream, [FilterChain(name="tcp", filters=[_filter("tcp_proxy", proxy)])])


def tls_listener(
    stream: Stream, bound: Mapping[str, Connections], chains: Iterable[Connections], resolver_timeout: timedelta
) -> Listener:
    """`bound`: by server name. `chains`: a filter chain for each; one that is taken away takes its connections along,
    so that these may be more than are needed."""
    found = sorted({CONNECTIONS, *chains, *bound.values()})
    listener = _listener(stream, [_asking(stream, resolver_timeout), *(_bound(stream, each) for each in found)])
    inspector = TlsInspector()
    listener.listener_filters.append(
        ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=packed(inspector))
    )
    listener.filter_chain_matcher.on_no_match.CopyFrom(_to_chain(_ASK))
    if bound:
        tree = listener.filter_chain_matcher.matcher_tree
        tree.input.CopyFrom(MatcherExtension(name="server_name", typed_config=packed(ServerNameInput())))
        for name in sorted(bound):
            tree.exact_match_map.map[name].CopyFrom(_to_chain(_chain_name(bound[name])))
    return listener


def _listener(stream: Stream, chains: list[FilterChain]) -> Listener:
    return Listener(
        name=stream.name,
        stat_prefix=stat_name(stream.name),
        address=Address(socket_address=SocketAddress(address=stream.address, port_value=stream.port)),
        filter_chains=chains,
        per_connection_buffer_limit_bytes=UInt32Value(value=BUFFER_BYTES),
        socket_options=keepalive(),
    )


def _asking(stream: Stream, timeout: timedelta) -> FilterChain:
    """Without a brain every name goes on: to its cluster if it has one, else the connection is closed."""
    ask = ExtAuthz(
        stat_prefix=stat_name(stream.name),
        grpc_service=GrpcService(
            envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER),
            timeout=duration(timeout),
            initial_metadata=[HeaderValue(key=ROUTER_METADATA, value=stream.name)],
        ),
        failure_mode_allow=True,
        transport_api_version=ApiVersion.V3,
        include_tls_session=True,
    )
    proxy = _proxy(stream, EMPTY_CLUSTER_NAME, CONNECTIONS)
    # The filter asks when the ClientHello comes; an upstream connection would be opened before.
    proxy.upstream_connect_mode = ON_DOWNSTREAM_DATA
    proxy.max_early_data_bytes.CopyFrom(UInt32Value(value=_EARLY_BYTES))
    return FilterChain(name=_ASK, filters=[_led(stream), _filter("ext_authz", ask), _filter("tcp_proxy", proxy)])


def _bound(stream: Stream, said: Connections) -> FilterChain:
    proxy = _proxy(stream, EMPTY_CLUSTER_NAME, said)
    return FilterChain(name=_chain_name(said), filters=[_led(stream), _filter("tcp_proxy", proxy)])


def _chain_name(said: Connections) -> str:
    return f"bound, {said}"


def _to_chain(name: str) -> Matcher.OnMatch:
    return Matcher.OnMatch(action=MatcherExtension(name=name, typed_config=packed(StringValue(value=name))))


def _led(stream: Stream) -> Filter:
    """To the cluster of the server name, which Envoy has in small letters."""
    cluster = DataSource(inline_string=stream_cluster(stream.name, _SERVER_NAME))
    value = FilterStateValue(
        object_key="envoy.tcp_proxy.cluster", format_string=SubstitutionFormatString(text_format_source=cluster)
    )
    return _filter("set_filter_state", SetFilterState(on_new_connection=[value]))


def _proxy(stream: Stream, cluster: str, said: Connections) -> TcpProxy:
    proxy = TcpProxy(
        stat_prefix=stat_name(stream.name),
        cluster=cluster,
        idle_timeout=seconds(said.idle_seconds),
        max_connect_attempts=UInt32Value(value=said.attempts),
        backoff_options=BackoffStrategy(base_interval=seconds(said.pauses[0]), max_interval=seconds(said.pauses[1])),
    )
    if said.by_source:
        proxy.hash_policy.append(HashPolicy(source_ip=HashPolicy.SourceIp()))
    return proxy


def _filter(name: str, config: Message) -> Filter:
    return Filter(name=f"envoy.filters.network.{name}", typed_config=packed(config))
