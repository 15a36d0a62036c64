"""Requests that bring a table of their own (`l5d-dtab`), seen from Envoy.

A scope has two more routes, matched by the presence of a header; only there the resolver is asked. It answers with the
key of another scope, made for this name under this table. So such a request has all that others have, policies and
splits and metrics, and others pay nothing. What was written over to lead to that scope is restored on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    HeaderMatcher,
    Route,
    RouteMatch,
    VirtualHost,
)

from mesh.naming.local import CONTEXT, SIGNATURE, USER

AUTHORITY = ":authority"
MOST_BYTES = 16 * 1024
"""Of a header that a route writes: HeaderValue.value, in Envoy's API."""


@dataclass(frozen=True, slots=True)
class Delegated:
    """`headers`: what the service gets instead of what the request has by then; lower-case names."""

    headers: tuple[tuple[str, str], ...] = ()

    @property
    def too_long(self) -> str | None:
        """The name of a header that Envoy would refuse to write, and the scope with it."""
        return next((name for name, value in self.headers if len(_literal(value).encode()) > MOST_BYTES), None)

    def restore(self, host: VirtualHost) -> None:
        for name, value in self.headers:
            if name == AUTHORITY:
                _restore_host(host, value)
            else:
                header = HeaderValue(key=name, value=_literal(value))
                host.request_headers_to_add.add(
                    header=header, append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
                )
        kept = {name for name, _ in self.headers}
        host.request_headers_to_remove.extend(name for name in (USER, CONTEXT, SIGNATURE) if name not in kept)


def _literal(value: str) -> str:
    """To Envoy `%` begins a substitution."""
    return value.replace("%", "%%")


def _restore_host(host: VirtualHost, value: str) -> None:
    """Where a policy doesn't say another one. An answer made here needs none."""
    for route in host.routes:
        if route.HasField("route") and not route.route.host_rewrite_literal:
            route.route.host_rewrite_literal = value
        elif route.HasField("redirect") and not route.redirect.host_redirect:
            route.redirect.host_redirect = value


def strip(host: VirtualHost) -> None:
    """Where tables of requests are not accepted, none is passed on to who might accept it."""
    host.request_headers_to_remove.extend((USER, CONTEXT, SIGNATURE))


@cache
def routes() -> tuple[Route, ...]:
    """Before all others. Nothing is ever sent by them: the resolver refuses the request or leads it elsewhere."""
    return tuple(map(_route, (USER, CONTEXT)))


def _route(header: str) -> Route:
    match = RouteMatch(prefix="/", headers=[HeaderMatcher(name=header, present_match=True)])
    return Route(match=match, direct_response=DirectResponseAction(status=503))
