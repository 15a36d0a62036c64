"""The names under `/$/`: addresses written out, and rewrites that a table can't express.

    /$/inet/<host>/<port>, /$/inet/<port>, /$/fixedinet/...      an address; `/$/inet/<port>` is this host
    /$/io.buoyant.rinet/<port>/<host>                            the same, the port first
    /$/nil, /$/fail                                              $, !
    /$/io.buoyant.hostportPfx/<pfx>/<host:port>/r                /<pfx>/<host>/<port>/r
    /$/io.buoyant.porthostPfx/<pfx>/<host:port>/r                /<pfx>/<port>/<host>/r
    /$/io.buoyant.http.anyMethod[Pfx/<pfx>]/<METHOD>/r           [/<pfx>]/r
    /$/io.buoyant.http.anyHost[Pfx/<pfx>]/<host>/r               [/<pfx>]/r
    /$/io.buoyant.http.subdomainOf[Pfx]/<domain>[/<pfx>]/<host>/r    [/<pfx>]/<subdomain>/r
    /$/io.buoyant.http.domainToPath[Pfx/<pfx>]/<host>/r          [/<pfx>]/<the host's labels, last first>/r

What does not match is `~`, so that an earlier dentry can serve. Any other `/$/<namer>` is an error, as in Linkerd 1,
where it would be the name of a Java class.
Source: Linkerd 1.7.5, io.buoyant.{hostportPfx,porthostPfx,rinet} and io.buoyant.http; Finagle, Namer.global.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from discovery.path import Path
from mesh.naming.trace import Missing
from mesh.naming.tree import BoundName, Empty, Fail, Leaf, NameTree

_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_METHOD = re.compile(r"[A-Z]+")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_HOST_PORT = re.compile(r"([^:]+):([a-z0-9][a-z0-9-]{0,62})")
_INET = ("inet", "fixedinet")
_LEADER = "io.buoyant.namer.zk.leader"


@dataclass(frozen=True, slots=True)
class Unusable:
    """The name can't be looked up at all: an error, not `~`. `known`: there is such a namer."""

    reason: str
    known: bool


Answer = NameTree[Path | BoundName] | Missing | Unusable


def lookup(path: Path) -> Answer:
    if path[:1] == ("#",):
        return Missing("no dentry matches, and no source has this prefix")
    if path[:1] != ("$",) or len(path) < 2:
        return Missing("no dentry matches")
    kind, rest = path[1], path.drop(2)
    if kind in _INET:
        return _inet(path)
    if kind == "io.buoyant.rinet":
        return _rinet(path)
    if kind == "nil":
        return Empty()
    if kind == "fail":
        return Fail()
    if kind in _REWRITES:
        return _rewritten(kind, rest)
    return Unusable(_unknown(kind), known=False)


def is_known(kind: str) -> bool:
    """Whether there is such a namer as /$/<kind>."""
    return kind in _REWRITES or kind in (*_INET, "io.buoyant.rinet", "nil", "fail")


def _inet(path: Path) -> Answer:
    if len(path) >= 4 and _INTEGER.fullmatch(path[3]):
        return _address(path, path[3], 4)
    if len(path) >= 3 and _INTEGER.fullmatch(path[2]):
        return _address(path, path[2], 3)
    return Unusable(f"/$/{path[1]} takes <host>/<port> or <port>, and a port is a number", known=False)


def _rinet(path: Path) -> Answer:
    if len(path) < 4:
        return Missing("/$/io.buoyant.rinet takes <port>/<host>")
    if not _INTEGER.fullmatch(path[2]):
        return Missing(f"{path[2]!r} is no port number")
    return _address(path, path[2], 4)


def _address(path: Path, port: str, length: int) -> Answer:
    if len(port) > 6 or not 0 <= int(port) <= 65535:
        return Unusable(f"{port} is no port (0 to 65535)", known=True)
    return Leaf(BoundName(path.take(length), path.drop(length)))


def _unknown(kind: str) -> str:
    if kind == _LEADER:
        return f"/$/{_LEADER} (a ZooKeeper leader) is not supported; use a source instead"
    return f"there is no namer /$/{kind}"


def _rewritten(kind: str, rest: Path) -> Answer:
    taken, rewrite = _REWRITES[kind]
    found = rewrite(*rest[:taken]) if len(rest) >= taken else None
    if found is None:
        return Missing(f"/$/{kind} does not match {rest.show()}")
    return Leaf(Path((*found, *rest[taken:])))


def _host_port(prefix: str, host_port: str) -> tuple[str, ...] | None:
    found = _HOST_PORT.fullmatch(host_port)
    return None if found is None else (prefix, found[1], found[2])


def _port_host(prefix: str, host_port: str) -> tuple[str, ...] | None:
    found = _HOST_PORT.fullmatch(host_port)
    return None if found is None else (prefix, found[2], found[1])


def _any_method(method: str) -> tuple[str, ...] | None:
    return () if _METHOD.fullmatch(method) else None


def _any_host(host: str) -> tuple[str, ...] | None:
    return () if _HOST.fullmatch(host) else None


def _subdomain_of(domain: str, host: str) -> tuple[str, ...] | None:
    if not (_HOST.fullmatch(domain) and _HOST.fullmatch(host)):
        return None
    name = host[: host.index(":")] if host.find(":") > 0 else host
    subdomain = name.removesuffix(f".{domain}")
    return (subdomain,) if subdomain and subdomain != name else None


def _subdomain_of_prefix(domain: str, prefix: str, host: str) -> tuple[str, ...] | None:
    return _prefixed(prefix, _subdomain_of(domain, host))


def _domain_to_path(host: str) -> tuple[str, ...] | None:
    # The port is not stripped. A trailing dot is, as Java's split does it.
    labels = host.rstrip(".").split(".")
    return tuple(reversed(labels)) if _HOST.fullmatch(host) and all(labels) else None


def _prefixed(prefix: str, found: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if found is None else (prefix, *found)


_REWRITES: dict[str, tuple[int, Callable[..., tuple[str, ...] | None]]] = {
    "io.buoyant.hostportPfx": (2, _host_port),
    "io.buoyant.porthostPfx": (2, _port_host),
    "io.buoyant.http.anyMethod": (1, _any_method),
    "io.buoyant.http.anyMethodPfx": (2, lambda prefix, method: _prefixed(prefix, _any_method(method))),
    "io.buoyant.http.anyHost": (1, _any_host),
    "io.buoyant.http.anyHostPfx": (2, lambda prefix, host: _prefixed(prefix, _any_host(host))),
    "io.buoyant.http.subdomainOf": (2, _subdomain_of),
    "io.buoyant.http.subdomainOfPfx": (3, _subdomain_of_prefix),
    "io.buoyant.http.domainToPath": (1, _domain_to_path),
    "io.buoyant.http.domainToPathPfx": (2, lambda prefix, host: _prefixed(prefix, _domain_to_path(host))),
}
"""How many segments each takes, and what it makes of them."""
