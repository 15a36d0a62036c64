"""Copies of requests, in a route. Envoy decides on each alone, and throws the answers away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from envoy.config.core.v3.base_pb2 import RuntimeFractionalPercent
from envoy.config.route.v3.route_components_pb2 import RouteAction, VirtualHost

from mesh.envoy.packing import fraction

Shares = tuple[tuple[str, float], ...]
"""Clusters, each with the percentage of the requests that it gets a copy of."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """`grpc`: of gRPC calls; `others`: of all other requests."""

    others: Shares = ()
    grpc: Shares = ()


NO_MIRRORS = Mirrors()


def mirror(host: VirtualHost, mirrors: Mirrors) -> None:
    host.request_mirror_policies.extend(_policies(mirrors.others))
    for route in host.routes if mirrors.grpc != mirrors.others else ():
        if route.match.HasField("grpc") and route.HasField("route"):
            route.route.request_mirror_policies.extend(_policies(mirrors.grpc))


def _policies(shares: Shares) -> Iterable[RouteAction.RequestMirrorPolicy]:
    for cluster, percent in shares:
        yield RouteAction.RequestMirrorPolicy(
            cluster=cluster,
            runtime_fraction=RuntimeFractionalPercent(default_value=fraction(percent)),
            # A copy is what the service gets, Host and all.
            disable_shadow_host_suffix_append=True,
        )
