"""What our resources are called in Envoy, and back.

cluster   the bound path, shown: /#/consul/dc1/users; without what other branches of a union have, the same with
          +once- and a hash of these; with settings of its own, +policy- and a hash of these; for gRPC to endpoints
          that don't say what they speak, with +grpc after it. A plus is in no path
          a TCP router's, and a TLS router's for one server name: <router>+<key>
scope     xdstp://tieline/envoy.config.route.v3.ScopedRouteConfiguration/<router>/<key>, both percent-encoded.
          One collection per router: in a wildcard subscription, which all listeners share, two routers with one
          key would refuse each other.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

from discovery.path import Path

_SCOPES = "xdstp://tieline/envoy.config.route.v3.ScopedRouteConfiguration/"
GRPC = "+grpc"
XDS_CLUSTER = "xds"
"""Where the brain is."""


def cluster_name(id: Path, without: tuple[Path, ...] = (), policy: str = "") -> str:
    """`id`: a bound name's, as in mesh.naming. `policy`: what tells its settings from the defaults."""
    if not without:
        return id.show() + policy
    told = "\n".join(each.show() for each in without)
    return f"{id.show()}+once-{hashlib.blake2b(told.encode(), digest_size=4).hexdigest()}{policy}"


def grpc_cluster_name(id: Path, without: tuple[Path, ...] = (), policy: str = "") -> str:
    return cluster_name(id, without, policy) + GRPC


def stream_cluster(router: str, key: str) -> str:
    """`key`: the path of a TCP router's name, the server name that a TLS router was asked for."""
    return f"{router}+{key}"


def parse_stream(cluster: str) -> tuple[str, str] | None:
    """(router, key), or None when it is not one of a TCP or TLS router."""
    router, plus, key = cluster.partition("+")
    return (router, key) if plus and router and "/" not in router else None


def stat_name(cluster: str) -> str:
    """No dots: Envoy's Prometheus tag ends at the first one. No colons: Envoy writes `_` for them.

    The hash keeps `a.b` and `a:b` apart from `a_b`.
    """
    if "." not in cluster and ":" not in cluster:
        return cluster
    return (
        f"{cluster.replace('.', '_').replace(':', '_')}_{hashlib.blake2b(cluster.encode(), digest_size=4).hexdigest()}"
    )


def scope_resource(router: str, key: str) -> str:
    """Raises ValueError for a key that is not valid Unicode: no such key fits into a protobuf string."""
    # Twice: Envoy undoes the first, writes the name anew and leaves a slash as it is.
    return f"{_SCOPES}{quote(router, safe='')}/{quote(quote(key, safe=''), safe='')}"


def parse_scope(resource: str) -> tuple[str, str] | None:
    """(router, key), or None when this is not one of our scopes."""
    router, slash, key = resource.removeprefix(_SCOPES).partition("/")
    if not resource.startswith(_SCOPES) or not slash or "/" in key:
        return None
    return unquote(router), unquote(unquote(key))


def scope_collection(router: str) -> str:
    return f"{_SCOPES}{quote(router, safe='')}/*"


def scope_key(authority: str) -> str:
    """What the listener takes as the key: everything before the first colon, case kept."""
    return authority.partition(":")[0]
