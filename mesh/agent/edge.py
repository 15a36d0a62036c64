"""What a router's configuration says of its callers, with the defaults that depend on whether they are trusted."""

from __future__ import annotations

import math

from mesh.config.routers import Router
from mesh.envoy.destination import ASKS
from mesh.envoy.edge import Edge
from mesh.naming.local import CONTEXT, SIGNATURE, USER

HEADER_SECONDS, REQUEST_SECONDS = 10.0, 300.0
"""On a router that is not trusted."""


def edge(router: Router) -> Edge:
    limits, trusted = router.limits, router.is_trusted
    return Edge(
        trusted=trusted,
        hops=router.xff_num_trusted_hops,
        escaped_slashes=router.escaped_slashes or ("keep" if trusted else "reject"),
        underscores=router.headers_with_underscores or ("keep" if trusted else "drop"),
        header_kib=math.ceil(limits.header_bytes / 1024),
        headers=limits.headers,
        body_bytes=limits.body_bytes,
        header_seconds=limits.header_timeout or (None if trusted else HEADER_SECONDS),
        request_seconds=limits.request_timeout or (None if trusted else REQUEST_SECONDS),
        idle_seconds=limits.idle or (3600.0 if trusted else 300.0),
        connections=limits.connections,
        streams=limits.streams or (1000 if trusted else 100),
        upgrades=router.upgrades,
        heard=_heard(router),
    )


def _heard(router: Router) -> tuple[str, ...]:
    tables = () if router.accepts == "off" else (CONTEXT, USER, SIGNATURE)
    return (*tables, ASKS) if router.show_destination == "on_request" else tables
