"""What a scope's routes are called, so that Envoy's counters, its access log and its spans tell of the name.

`stat_prefix` is what gives a name counters and a histogram of its own. Envoy never forgets one that it has counted,
though the route be gone; so who calls this gives out a bounded number of them.
"""

from __future__ import annotations

from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration

from discovery.path import Path
from mesh.envoy.names import stat_name

_NAMESPACE, _KEY = "tieline", "table"
TABLE = f"%METADATA(ROUTE:{_NAMESPACE}:{_KEY})%"
"""The version of the table, in Envoy's format."""


def label(scope: ScopedRouteConfiguration, router: str, path: Path, counted_as: str, table: str = "") -> None:
    """`table`: its version, if it is to be told."""
    (host,) = scope.route_configuration.virtual_hosts
    host.name = stat_name(router)
    for route in host.routes:
        route.name = path.show()
        route.stat_prefix = counted_as
        if table:
            route.metadata.filter_metadata[_NAMESPACE].update({_KEY: table})
