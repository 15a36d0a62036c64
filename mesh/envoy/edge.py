"""What a listener takes from callers that nobody vouches for, and what it keeps from them.

Removed before anything looks at a request: what speaks to the mesh or to Envoy, and what a proxy in front would have
said. Envoy calls every caller remote, hence its own x-envoy-* are removed on all listeners, and it sets
x-forwarded-proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.buffer.v3.buffer_pb2 import Buffer
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

from mesh.config.edge import OF_PROXIES, OURS, TO_THE_MESH
from mesh.envoy.packing import duration, packed, seconds

_KEEP_UNCHANGED, _REJECT, _REDIRECT, _UNESCAPE = 1, 2, 3, 4
_SLASHES = {"keep": _KEEP_UNCHANGED, "reject": _REJECT, "redirect": _REDIRECT, "unescape": _UNESCAPE}
_UNDERSCORES = {
    "keep": HttpProtocolOptions.ALLOW,
    "reject": HttpProtocolOptions.REJECT_REQUEST,
    "drop": HttpProtocolOptions.DROP_HEADER,
}
# Of one connection of HTTP/2 whose caller may not be kind: what Envoy advises for its edge.
_STREAM_WINDOW, _CONNECTION_WINDOW = 64 * 1024, 1024 * 1024


_KEPT = f"{OURS}kept-"


@dataclass(frozen=True, slots=True)
class Edge:
    """The defaults are those of a trusted listener. `hops`: proxies in front that are believed. None: no limit."""

    trusted: bool = True
    hops: int = 0
    escaped_slashes: str = "keep"
    underscores: str = "keep"
    header_kib: int = 60
    headers: int = 100
    body_bytes: int | None = None
    header_seconds: float | None = None
    request_seconds: float | None = None
    idle_seconds: float = 3600.0
    connections: int | None = None
    streams: int = 1000
    upgrades: tuple[str, ...] = ("websocket",)
    heard: tuple[str, ...] = ()
    """Headers to the mesh that are taken from strangers, too: a configuration says so of each."""


TRUSTED = Edge()


def guard(manager: HttpConnectionManager, edge: Edge) -> None:
    manager.path_with_escaped_slashes_action = _SLASHES[edge.escaped_slashes]
    common = manager.common_http_protocol_options
    common.idle_timeout.CopyFrom(duration(timedelta(seconds=edge.idle_seconds)))
    common.max_headers_count.CopyFrom(UInt32Value(value=edge.headers))
    common.headers_with_underscores_action = _UNDERSCORES[edge.underscores]
    manager.max_request_headers_kb.CopyFrom(UInt32Value(value=edge.header_kib))
    manager.http2_protocol_options.max_concurrent_streams.CopyFrom(UInt32Value(value=edge.streams))
    if edge.header_seconds is not None:
        manager.request_headers_timeout.CopyFrom(seconds(edge.header_seconds))
    if edge.request_seconds is not None:
        manager.request_timeout.CopyFrom(seconds(edge.request_seconds))
    if not edge.trusted:
        _distrust(manager, edge)


def _distrust(manager: HttpConnectionManager, edge: Edge) -> None:
    manager.skip_xff_append = False
    manager.xff_num_trusted_hops = edge.hops
    http2 = manager.http2_protocol_options
    http2.initial_stream_window_size.CopyFrom(UInt32Value(value=_STREAM_WINDOW))
    http2.initial_connection_window_size.CopyFrom(UInt32Value(value=_CONNECTION_WINDOW))


def removals(edge: Edge) -> list[HeaderMutation]:
    """Of a request, before the scope is looked for."""
    if edge.trusted:
        return []
    kept = [(header, f"{_KEPT}{number}") for number, header in enumerate(edge.heard)]
    first = [_all(prefix) for prefix in (OURS, *(() if edge.hops else OF_PROXIES))]
    saved = [_copy(header, to) for header, to in kept]
    back = [_copy(to, header) for header, to in kept]
    return [*first, *saved, *map(_all, TO_THE_MESH), *back, *([_all(_KEPT)] if kept else [])]


def _copy(header: str, to: str) -> HeaderMutation:
    """What a request does not have stays away."""
    value = HeaderValue(key=to, value=f"%REQ({header.upper()})%")
    overwrite = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return HeaderMutation(append=HeaderValueOption(header=value, append_action=overwrite))


def _all(prefix: str) -> HeaderMutation:
    matcher = StringMatcher(prefix=prefix, ignore_case=True)
    return HeaderMutation(remove_on_match=HeaderMutation.RemoveOnMatch(key_matcher=matcher))


def http_filters(edge: Edge) -> list[HttpFilter]:
    """To stand first."""
    if edge.body_bytes is None:
        return []
    buffer = Buffer(max_request_bytes=UInt32Value(value=edge.body_bytes))
    return [HttpFilter(name="envoy.filters.http.buffer", typed_config=packed(buffer))]


def network_filters(name: str, edge: Edge) -> list[Filter]:
    """To stand before the connection manager."""
    if edge.connections is None:
        return []
    limit = ConnectionLimit(stat_prefix=name, max_connections=UInt64Value(value=edge.connections))
    return [Filter(name="envoy.filters.network.connection_limit", typed_config=packed(limit))]
