"""A router's listener: HTTP/1.1 and HTTP/2 on one port, scopes for what is bound, the resolver for the rest.

The race of a first request. When Envoy acknowledges a scope, its main thread has posted the scope to the workers; the
resolver's answer reaches the worker by a connection of its own. If that connection is readable because of another
request, the worker may find the answer in it before it gets to the posted scope, and there is no route: 404 for a name
that exists, 1 of 30,000 first requests (8 callers, 2 workers). So whoever has no route when the resolver is done takes
one more step: `on_demand` asks the main thread, whose reply is posted behind the scope, and then the route is looked up
again. `on_demand` does not do that itself for a scope with an inline route, hence `route_again`. To keep one path, the
resolver never makes Envoy look up the route (RETAIN): all first requests go this way, at some 50 us each. Bound routes
switch all three filters off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation, HeaderMutationRules
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.protocol_pb2 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    SchemeHeaderTransformation,
)
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2 import ExternalProcessor, HeaderForwardingRules
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.extensions.filters.http.grpc_stats.v3.config_pb2 import FilterConfig as GrpcStats
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation as MutationFilter
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import Mutations
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand
from envoy.extensions.filters.http.router.v3.router_pb2 import Router as RouterFilter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    ScopedRds,
    ScopedRoutes,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyMutation,
)
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from mesh.envoy import shaping
from mesh.envoy.clusters import BUFFER_BYTES
from mesh.envoy.deadlines import deadline_filter
from mesh.envoy.edge import TRUSTED, Edge, guard, http_filters, network_filters, removals
from mesh.envoy.keys import HOST_FORM, Fragment, KeyForm
from mesh.envoy.names import XDS_CLUSTER, scope_collection, stat_name
from mesh.envoy.packing import duration, packed
from mesh.envoy.replies import local_replies
from mesh.envoy.routes import EXT_PROC, GRPC_STATS, ON_DEMAND, ROUTE_AGAIN
from mesh.envoy.sight import NOTHING, Sight, see
from mesh.envoy.sockets import keepalive
from mesh.envoy.tls import ServerTls, forward_client, server_socket
from mesh.naming.identifiers import PATH
from mesh.naming.local import CONTEXT, SIGNATURE, USER

_SET_FILTER_STATE = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
ROUTER_METADATA = "x-tieline-router"
"""Tells the resolver, in the call's metadata, which router asks."""

HANDSHAKE = timedelta(seconds=10)
STRANGERS_IDLE = timedelta(hours=1)
FLUSH = timedelta(minutes=5)
"""How long the rest of an answer waits for a caller that has stopped to read."""
ASKED = "%REQ(:AUTHORITY)%"

# What a bound request may show to the resolver, and no more: bodies, cookies and tokens stay in Envoy.
FORWARDED_HEADERS = (":authority", ":method", ":path", "content-type", "upgrade", CONTEXT, USER, SIGNATURE)


@dataclass(frozen=True, slots=True)
class Router:
    """Where callers connect. `name` tells its scopes from those of other routers."""

    name: str
    address: str
    port: int
    resolver_timeout: timedelta = timedelta(seconds=6)
    """The brain waits for sources that have not answered, and it must be the one to say so."""
    form: KeyForm = HOST_FORM
    """What identifies a request."""
    sight: Sight = NOTHING
    tls: ServerTls | None = None
    edge: Edge = TRUSTED


def listener(router: Router) -> Listener:
    manager = see(_connection_manager(router), router.name, router.sight)
    chain = [Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))]
    return Listener(
        name=router.name,
        stat_prefix=stat_name(router.name),
        address=Address(socket_address=SocketAddress(address=router.address, port_value=router.port)),
        filter_chains=[_filter_chain(router, [*network_filters(stat_name(router.name), router.edge), *chain])],
        per_connection_buffer_limit_bytes=UInt32Value(value=BUFFER_BYTES),
        socket_options=keepalive(),
    )


def _filter_chain(router: Router, filters: list[Filter]) -> FilterChain:
    if router.tls is None:
        return FilterChain(filters=filters)
    # Who connects and then says nothing.
    patience = duration(HANDSHAKE)
    return FilterChain(
        filters=filters, transport_socket=server_socket(router.tls), transport_socket_connect_timeout=patience
    )


def _connection_manager(router: Router) -> HttpConnectionManager:
    filters = [
        _resolver(router),
        _on_demand(),
        _route_again(),
        *shaping.filters(),
        *_uncopied(router.form),
        deadline_filter(),
        _grpc_stats(),
        _router_filter(),
    ]
    manager = HttpConnectionManager(
        codec_type=HttpConnectionManager.AUTO,
        stat_prefix=stat_name(router.name),
        scoped_routes=_scoped_routes(router),
        early_header_mutation_extensions=_early(router),
        http_filters=[*http_filters(router.edge), *filters],
        upgrade_configs=[_upgrade(each, router, filters) for each in router.edge.upgrades],
        http_protocol_options=Http1ProtocolOptions(accept_http_10=True),
        http2_protocol_options=Http2ProtocolOptions(allow_connect=True),  # WebSocket over HTTP/2, RFC 8441
        # One that idles for ever costs a trusted caller its own connection; a timer would cost every request.
        stream_idle_timeout=duration(timedelta() if router.edge.trusted else STRANGERS_IDLE),
        stream_flush_timeout=duration(FLUSH),
        # Callers are "remote", so Envoy removes every x-envoy-* header they send: those change retries and timeouts.
        use_remote_address=BoolValue(value=True),
        skip_xff_append=True,
        preserve_external_request_id=router.edge.trusted or router.edge.hops > 0,
        normalize_path=BoolValue(value=(normal := _normal_paths(router))),
        merge_slashes=normal,
        scheme_header_transformation=SchemeHeaderTransformation(match_upstream=True),
        server_header_transformation=HttpConnectionManager.PASS_THROUGH,
        local_reply_config=local_replies(
            ASKED if router.form == HOST_FORM else ASKED + "%PATH(NQ)%", told=router.sight.tells_errors
        ),
    )
    guard(manager, router.edge)
    forward_client(manager, router.tls)
    return manager


def _normal_paths(router: Router) -> bool:
    """A trusted caller's path is the service's affair, unless it says where the request goes."""
    return not router.edge.trusted or any(each.part.header == PATH for each in router.form.fragments)


def _scoped_routes(router: Router) -> ScopedRoutes:
    ads = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    scopes = ConfigSource(
        ads=AggregatedConfigSource(),
        resource_api_version=ApiVersion.V3,
        initial_fetch_timeout=duration(timedelta(seconds=1)),
    )
    return ScopedRoutes(
        name=router.name,
        rds_config_source=ads,
        scoped_rds=ScopedRds(scoped_rds_config_source=scopes, srds_resources_locator=scope_collection(router.name)),
        scope_key_builder=ScopedRoutes.ScopeKeyBuilder(fragments=[_fragment(each) for each in router.form.fragments]),
    )


def _fragment(fragment: Fragment) -> ScopedRoutes.ScopeKeyBuilder.FragmentBuilder:
    builder, part = ScopedRoutes.ScopeKeyBuilder.FragmentBuilder, fragment.part
    return builder(
        header_value_extractor=builder.HeaderValueExtractor(
            name=fragment.carrier, element_separator=part.separator, index=part.index
        )
    )


def _upgrade(protocol: str, router: Router, filters: list[HttpFilter]) -> HttpConnectionManager.UpgradeConfig:
    """Its body has no end to wait for."""
    limited = router.edge.body_bytes is not None
    return HttpConnectionManager.UpgradeConfig(upgrade_type=protocol, filters=filters if limited else [])


def _early(router: Router) -> list[TypedExtensionConfig]:
    """Before the scope is looked for."""
    mutations = [*removals(router.edge), *_copies(router.form)]
    if not mutations:
        return []
    config = packed(EarlyMutation(mutations=mutations))
    return [TypedExtensionConfig(name="envoy.http.early_header_mutation.header_mutation", typed_config=config)]


def _copies(form: KeyForm) -> list[HeaderMutation]:
    return [
        HeaderMutation(
            append=HeaderValueOption(
                header=HeaderValue(key=each.header, value=each.value),
                append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
                keep_empty_value=True,
            )
        )
        for each in form.copies
    ]


def _uncopied(form: KeyForm) -> list[HttpFilter]:
    """No service gets the copies. Before they go, a first request must have looked for its route: `route_again` leaves
    that to the next who needs it, which a second `on_demand` does."""
    if not form.copies:
        return []
    removed = Mutations(request_mutations=[HeaderMutation(remove=each.header) for each in form.copies])
    config = packed(MutationFilter(mutations=removed))
    return [_on_demand(), HttpFilter(name="envoy.filters.http.header_mutation", typed_config=config)]


def _resolver(router: Router) -> HttpFilter:
    """Asks the brain, for keys that have no scope; bound routes switch it off."""
    carriers = (each.carrier for each in router.form.fragments)
    allowed = [StringMatcher(exact=name) for name in dict.fromkeys((*FORWARDED_HEADERS, *carriers))]
    config = ExternalProcessor(
        grpc_service=GrpcService(
            envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER),
            initial_metadata=[HeaderValue(key=ROUTER_METADATA, value=router.name)],
        ),
        message_timeout=duration(router.resolver_timeout),
        status_on_error=HttpStatus(code=503),
        processing_mode=ProcessingMode(
            request_header_mode=ProcessingMode.SEND, response_header_mode=ProcessingMode.SKIP
        ),
        route_cache_action=ExternalProcessor.RETAIN,
        # The brain may write a name in the one way that has a scope (`:authority`, or what else identifies requests).
        mutation_rules=HeaderMutationRules(allow_all_routing=BoolValue(value=True)),
        forward_rules=HeaderForwardingRules(allowed_headers=ListStringMatcher(patterns=allowed)),
    )
    return HttpFilter(name=EXT_PROC, typed_config=packed(config))


def _on_demand() -> HttpFilter:
    return HttpFilter(name=ON_DEMAND, typed_config=packed(OnDemand()))


def _route_again() -> HttpFilter:
    """set_filter_state that sets nothing and clears the route cache; bound routes switch it off."""
    # `clear_route_cache: true`, field 2: this Envoy has it, xds-protos does not yet.
    config = PackedAny(type_url=_SET_FILTER_STATE, value=b"\x10\x01")
    return HttpFilter(name=ROUTE_AGAIN, typed_config=config)


def _grpc_stats() -> HttpFilter:
    return HttpFilter(name=GRPC_STATS, typed_config=packed(GrpcStats(stats_for_all_methods=BoolValue(value=False))))


def _router_filter() -> HttpFilter:
    config = RouterFilter(suppress_envoy_headers=True)
    return HttpFilter(name="envoy.filters.http.router", typed_config=packed(config))
