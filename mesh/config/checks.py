"""What one key alone can't show: entries of a valid configuration that contradict each other. Pure."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from discovery.path import Path
from discovery.settings import SourceConfig
from mesh.config.document import Loc
from mesh.config.edge import OF_PROXIES, OURS, TO_THE_MESH
from mesh.config.model import Config
from mesh.config.routers import Router
from mesh.config.table import remarks, unknown_sources
from mesh.naming.identifiers import PATH

_OF_REQUESTS = (
    *("identifier", "overrides", "overrides_key_file", "show_destination", "errors", "tls", "trusted", "upgrades"),
    *("xff_num_trusted_hops", "escaped_slashes", "headers_with_underscores", "limits"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`earlier`: the entry that this one contradicts. `line`, `path`: the dentry that is meant, and what in it."""

    loc: Loc
    message: str
    hint: str
    earlier: Loc | None = None
    line: int | None = None
    path: Path | None = None


def contradictions(config: Config) -> Iterator[Finding]:
    yield from _admin(config)
    yield from _routers(config)
    yield from source_contradictions(dict(enumerate(config.sources)))


def source_contradictions(sources: dict[int, SourceConfig]) -> Iterator[Finding]:
    """By place in the list, so that the valid ones are compared although others are not."""
    for (first, one), (second, other) in itertools.combinations(sources.items(), 2):
        loc, earlier = ("sources", second), ("sources", first)
        root = other.root.show()
        if one.root == other.root:
            yield Finding(loc, f"a second source answers for {root}", "Give one of the two its own `prefix`", earlier)
        elif other.root.startswith(one.root) or one.root.startswith(other.root):
            message = f"{one.root.show()} and {root} overlap, so that one source hides the other"
            yield Finding(loc, message, "Give them prefixes of which none begins the other", earlier)


def doubts(config: Config) -> Iterator[Finding]:
    """What the agent can run with but hardly anyone wants. A control plane has tables and sources of its own."""
    loc: Loc = ("dtab",)
    if not config.dtab and config.control is None:
        yield Finding(
            loc, "the table is empty, so that every name is missing", "Write for example `dtab: /svc => /#/files`"
        )
    known = ", ".join(source.root.show() for source in config.sources) or "none"
    unknown = unknown_sources(config.dtab, [source.root for source in config.sources])
    for dentry, path in unknown if config.control is None else ():
        hint = f"Add a source with this prefix, or correct it; sources here: {known}"
        yield Finding(loc, f"{path.show()} leads to no source", hint, line=dentry.line, path=path)
    for remark in remarks(config.dtab):
        yield Finding(loc, remark.message, remark.hint, line=remark.line)


def _admin(config: Config) -> Iterator[Finding]:
    admin = config.admin
    if admin.port is not None and not admin.allow_remote and not ipaddress.ip_address(admin.address).is_loopback:
        yield Finding(
            ("admin", "address"),
            f"other hosts could reach the admin API at {admin.address}, and it asks for no password",
            "Use 127.0.0.1, or add `allow_remote: true` if that is meant",
        )


def _routers(config: Config) -> Iterator[Finding]:
    for index, router in enumerate(config.routers):
        yield from _overrides(("routers", index), router)
        yield from _protocol(("routers", index), router)
        if router.port == config.admin.port and _same(router.address, config.admin.address):
            message = f"the admin API listens on port {router.port} already"
            yield Finding(("routers", index, "port"), message, "Choose another port for one of the two", ("admin",))
        if (header := _unheard(router)) is not None:
            message = f"`{header}` is not taken from callers that are not trusted"
            hint = "Identify by another header, or write `trusted: true` if nobody else can connect"
            yield Finding(("routers", index, "identifier"), message, hint)
    for (first, one), (second, other) in itertools.combinations(enumerate(config.routers), 2):
        if one.name == other.name:
            message = f"a second router called {one.name!r}"
            yield Finding(("routers", second, "name"), message, "Give each router its own `name`", ("routers", first))
        if one.port == other.port and _same(one.address, other.address):
            message = f"the router {one.name!r} listens on port {one.port} already"
            yield Finding(("routers", second, "port"), message, "Give each router its own `port`", ("routers", first))


def _unheard(router: Router) -> str | None:
    """A header that identifies requests and is not taken from this router's callers."""
    if router.is_trusted:
        return None
    removed = (OURS, *TO_THE_MESH, *(() if router.xff_num_trusted_hops else OF_PROXIES))
    underscores = router.headers_with_underscores != "keep"
    headers = (part.header.lower() for each in router.identifiers for part in each.parts if part.header != PATH)
    return next((each for each in headers if each.startswith(removed) or (underscores and "_" in each)), None)


def _overrides(loc: Loc, router: Router) -> Iterator[Finding]:
    signed = router.overrides == "signed"
    if signed and router.overrides_key_file is None:
        hint = "Add `overrides_key_file`, the file that holds the key"
        yield Finding((*loc, "overrides"), "signatures need a key", hint)
    if not signed and router.overrides_key_file is not None:
        hint = "Write `overrides: signed`, or remove it"
        yield Finding((*loc, "overrides_key_file"), "a key is used with `overrides: signed` only", hint)


def _protocol(loc: Loc, router: Router) -> Iterator[Finding]:
    """What stands there is used."""
    protocol = router.protocol
    if protocol == "tcp" and router.to is None:
        hint = "Write for example `to: postgres`"
        yield Finding((*loc, "protocol"), "raw TCP says no name: `to` is missing", hint)
    if protocol != "tcp" and router.to is not None:
        says = "each request" if protocol == "http" else "each connection"
        hint = "Write `protocol: tcp`, or remove it"
        yield Finding((*loc, "to"), f"with `protocol: {protocol}` {says} says its own name", hint)
    for key in _OF_REQUESTS if protocol != "http" else ():
        if key in router.model_fields_set:
            message = f"with `protocol: {protocol}` there are no requests to look at"
            yield Finding((*loc, key), message, "Remove it, or write `protocol: http`")


def _same(one: str, other: str) -> bool:
    return one == other or any(ipaddress.ip_address(address).is_unspecified for address in (one, other))
