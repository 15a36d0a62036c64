"""Identifiers: which name a request asks for. Pure: what the request says in, a path or the reason why not out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from discovery.path import Path
from mesh.naming.dtab import DtabSyntaxError, parse_path

_HOST = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Unidentified:
    """The request names no service. `reason` is for the caller."""

    reason: str


@dataclass(frozen=True, slots=True)
class Consumed:
    """`uri` is what is left to send on."""

    path: Path
    uri: str


def host(authority: str, prefix: Path) -> Path | Unidentified:
    """The Host header, `users` or `Users:8080`: `<prefix>/users`. Case, a last dot and the port do not matter."""
    if not authority:
        return Unidentified("the request has no Host header")
    if authority.startswith("["):
        return Unidentified(f"the Host header {_quoted(authority)} is an IPv6 address, which names no service")
    name = authority.partition(":")[0].removesuffix(".").lower()
    if not _HOST.fullmatch(name):
        return Unidentified(f"the Host header {_quoted(authority)} is no host name")
    return prefix.then((name,))


def token(value: str | None, prefix: Path, header: str = "host") -> Path | Unidentified:
    """The header's value as it stands, as one segment: Linkerd 1's default, where port and case matter."""
    return prefix.then((value,)) if value else Unidentified(f"the request has no {header} header")


def header(value: str | None, prefix: Path, header: str = "l5d-name") -> Path | Unidentified:
    """The header holds a path: `/users/v2` is `<prefix>/users/v2`."""
    if not value:
        return Unidentified(f"the request has no {header} header")
    try:
        return prefix.then(parse_path(value))
    except DtabSyntaxError as error:
        return Unidentified(f"the {header} header is no path: {error}")


def uri_path(uri: str, prefix: Path, segments: int = 1) -> Path | Unidentified:
    """The first segments of the URI's path: `/users/list?all` is `<prefix>/users`."""
    taken = _split(uri)[0].split("/")[1 : segments + 1]
    if len(taken) < segments or not all(taken):
        return Unidentified(f"the path of the request has fewer than {segments} segments")
    return prefix.then(taken)


def consumed(uri: str, prefix: Path, segments: int = 1) -> Consumed | Unidentified:
    """As `uri_path`, and takes these segments off the URI."""
    path = uri_path(uri, prefix, segments)
    if isinstance(path, Unidentified):
        return path
    before, query = _split(uri)
    return Consumed(path, "/" + "/".join(before.split("/")[segments + 1 :]) + query)


def method_and_host(
    method: str, authority: str | None, prefix: Path, *, version: str = "1.1", uri: str | None = None
) -> Path | Unidentified:
    """`<prefix>/1.1/GET/users`, for HTTP/1.0 `<prefix>/1.0/GET`; with `uri`, the segments of its path after that."""
    rest = () if uri is None else tuple(segment for segment in _split(uri)[0].split("/") if segment)
    if version == "1.0":
        return prefix.then((version, method, *rest))
    if not authority:
        return Unidentified(f"the request has no Host header, which HTTP/{version} demands")
    return prefix.then((version, method, authority.lower(), *rest))


def _split(uri: str) -> tuple[str, str]:
    """Path and query; an absolute URI loses scheme and authority."""
    if not uri.startswith("/"):
        uri = "/" + uri.partition("://")[2].partition("/")[2]
    path = re.split(r"[?#]", uri, maxsplit=1)[0]
    return path, uri[len(path) :]


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")
