"""Scopes: what a router does with a key it has bound. One resource per key, its route inline.

A bound name switches the resolver (`ext_proc`) off for itself with a FilterConfig, which makes it free;
ExtProcPerRoute{disabled} would cost 6 %. It is the routes that switch filters off, and not their virtual host: those of
requests with a table want them, and to switch one on again costs Envoy as much memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, lru_cache
from types import MappingProxyType

from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    FilterConfig,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.wrappers_pb2 import UInt32Value

from discovery.path import Path
from mesh.envoy import deadlines, delegation, retries, rewriting, shaping
from mesh.envoy.balancing import hash_policies
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME
from mesh.envoy.delegation import Delegated
from mesh.envoy.keys import fragments
from mesh.envoy.mirroring import NO_MIRRORS, Mirrors, mirror
from mesh.envoy.names import cluster_name, scope_resource
from mesh.envoy.packing import packed, seconds, text
from mesh.naming.shares import shares_of
from mesh.naming.tree import BoundTree
from mesh.policy.settings import DEFAULTS, Settings

EXT_PROC = "ext_proc"
ON_DEMAND = "on_demand"
ROUTE_AGAIN = "route_again"
FIRST_REQUEST = (EXT_PROC, ON_DEMAND, ROUTE_AGAIN)
"""Filters of requests that have no route yet."""
GRPC_STATS = "grpc_stats"
"""Counts gRPC calls by their own status."""
OPTIONAL = (shaping.RATE_LIMIT, shaping.FAULT, deadlines.FILTER, GRPC_STATS)
"""Filters that do what a policy says. They are switched off in each route that does not need them and not in
the listener: which filters a request meets is decided when it comes, before a first request has a route."""
L5D_ERR = "l5d-err"
Tables = bool | Delegated
"""What is to be done with a table that a request brings: honour it, or remove it. Or the scope is for one."""

# The total of a split that has no small common denominator: shares are right to one in a million.
_WEIGHT_TOTAL = 1_000_000
# Envoy refuses a longer body than the route configuration says, and the whole scope with it.
_BODY_BYTES = 16 * 1024
_HEADER_CHARACTERS = 1000


def scope(
    router: str,
    key: str,
    tree: BoundTree,
    settings: Settings = DEFAULTS,
    cluster: Callable[[Path], str] = cluster_name,
    grpc: Callable[[Path], str] | None = cluster_name,
    consumed: int = 0,
    tables: Tables = False,
    mirrors: Mirrors = NO_MIRRORS,
) -> ScopedRouteConfiguration:
    """`cluster`, `grpc`: where a bound name's requests go, and those of gRPC. None: these have no route, so the brain
    is asked. `consumed`: how many segments of the path are not sent on."""
    shares = integer_shares(cluster_shares(tree, cluster))
    found: list[Route] = []
    if grpc is not None:
        # WebSockets need no route of their own: the timeout begins with the end of the request, which they do not have.
        streams = _action(settings, integer_shares(cluster_shares(tree, grpc)), is_grpc=True)
        found.append(Route(match=RouteMatch(prefix="/", grpc=RouteMatch.GrpcRouteMatchOptions()), route=streams))
    others = [] if grpc else [_not_grpc()]
    if (again := retries.idempotent(settings)) is not None:
        methods = retries.of_methods(settings.retries.methods)
        action = _action(settings, shares)
        action.retry_policy.CopyFrom(again)
        found.append(Route(match=RouteMatch(prefix="/", headers=[*others, methods]), route=action))
    found.append(Route(match=RouteMatch(prefix="/", headers=others), route=_action(settings, shares)))
    found = rewriting.rewritten(found, settings, consumed)
    shaping.shape_grpc(found, settings)
    message = _scope(router, key, found, tables, retries.any_method(settings), _filters(settings))
    (host,) = message.route_configuration.virtual_hosts
    shaping.change_headers(host, settings)
    mirror(host, mirrors)
    return message


def _filters(settings: Settings) -> dict[str, PackedAny]:
    """The OPTIONAL ones that are wanted, with what is to be done."""
    deadline = {deadlines.FILTER: deadlines.on(settings.timeout)} if settings.timeout.deadline else {}
    return deadline | shaping.wanted(settings)


@cache
def _not_grpc() -> HeaderMatcher:
    return HeaderMatcher(
        name="content-type",
        string_match=StringMatcher(prefix="application/grpc"),
        invert_match=True,
        treat_missing_header_as_empty=True,
    )


def direct(
    router: str, key: str, status: int, body: str, l5d_err: str, tables: Tables = False
) -> ScopedRouteConfiguration:
    """An answer at once: no such name, nothing behind it, refused."""
    cut = text(body).encode()[:_BODY_BYTES].decode(errors="ignore")
    action = DirectResponseAction(status=status, body=DataSource(inline_string=cut))
    route = Route(match=RouteMatch(prefix="/"), direct_response=action)
    if l5d_err:
        said = HeaderValueOption(header=HeaderValue(key=L5D_ERR, value=header_value(l5d_err)))
        route.response_headers_to_add.append(said)
    return _scope(router, key, [route], tables)


def header_value(value: str) -> str:
    """One printable line that Envoy takes: it refuses a longer one. `%` doubled: to Envoy it begins a substitution."""
    line = " ".join(text(value).split())[:_HEADER_CHARACTERS]
    return "".join(char if char.isprintable() else "?" for char in line).replace("%", "%%")


def integer_shares(shares: dict[str, Fraction]) -> dict[str, int]:
    """Exact while the common denominator is small, else the largest remainders of a million; none is rounded to 0."""
    denominator = math.lcm(*(share.denominator for share in shares.values()))
    if denominator <= _WEIGHT_TOTAL:
        return {name: int(share * denominator) for name, share in shares.items()}
    exact = {name: share * _WEIGHT_TOTAL for name, share in shares.items()}
    whole = {name: max(1, math.floor(value)) for name, value in exact.items()}
    missing = max(0, _WEIGHT_TOTAL - sum(whole.values()))
    for name in sorted(exact, key=lambda name: (whole[name] - exact[name], name))[:missing]:
        whole[name] += 1
    return whole


def cluster_shares(tree: BoundTree, name: Callable[[Path], str]) -> dict[str, Fraction]:
    """Each cluster's share of the requests, together 1. What has nothing behind it goes to the empty cluster."""
    return shares_of(tree, lambda bound: name(bound.id), EMPTY_CLUSTER_NAME)


def _action(settings: Settings, shares: dict[str, int], *, is_grpc: bool = False) -> RouteAction:
    action = RouteAction()
    action.CopyFrom(_of_settings(settings, is_grpc))
    if len(shares) == 1:
        action.cluster = next(iter(shares))
        return action
    for name in sorted(shares):
        weight = UInt32Value(value=shares[name])
        action.weighted_clusters.clusters.append(WeightedCluster.ClusterWeight(name=name, weight=weight))
    return action


@lru_cache(maxsize=256)
def _of_settings(settings: Settings, is_grpc: bool) -> RouteAction:
    """A gRPC caller says its deadline itself, in grpc-timeout; a stream without one is cut only if a policy says."""
    timeout = settings.timeout
    action = RouteAction(timeout=seconds(0 if is_grpc else timeout.request or 0))
    if is_grpc:
        action.max_stream_duration.grpc_timeout_header_max.CopyFrom(seconds(timeout.grpc or 0))
        if timeout.grpc is not None:
            action.max_stream_duration.max_stream_duration.CopyFrom(seconds(timeout.grpc))
        if (again := retries.grpc(settings)) is not None:
            action.retry_policy.CopyFrom(again)
    if timeout.idle is not None:
        action.idle_timeout.CopyFrom(seconds(timeout.idle))
    action.hash_policy.extend(hash_policies(settings.balancing.hash_on))
    return action


def _scope(
    router: str,
    key: str,
    found: list[Route],
    tables: Tables,
    again: RetryPolicy | None = None,
    filters: Mapping[str, PackedAny] = MappingProxyType({}),
) -> ScopedRouteConfiguration:
    name = scope_resource(router, key)
    asking = delegation.routes() if tables is True else ()
    for route in found:
        on = {*filters, *route.typed_per_filter_config, *((GRPC_STATS,) if route.match.HasField("grpc") else ())}
        for each in (name for name in (*FIRST_REQUEST, *OPTIONAL) if name not in on):
            route.typed_per_filter_config[each].CopyFrom(_filter_off())
    host = VirtualHost(name=key, domains=["*"], routes=[*asking, *found], retry_policy=again)
    for each, config in filters.items():
        # Once for all routes: a rate limit counts what it stands at.
        host.typed_per_filter_config[each].CopyFrom(config)
    if isinstance(tables, Delegated):
        tables.restore(host)
    elif not tables:
        delegation.strip(host)
    key_of = ScopedRouteConfiguration.Key
    return ScopedRouteConfiguration(
        name=name,
        key=key_of(fragments=[key_of.Fragment(string_key=each) for each in fragments(key)]),
        route_configuration=RouteConfiguration(
            name=name,
            virtual_hosts=[host],
            max_direct_response_body_size_bytes=UInt32Value(value=_BODY_BYTES),
        ),
    )


@cache
def _filter_off() -> PackedAny:
    return packed(FilterConfig(disabled=True))
