"""A line of the registry -> `Addr`, or an error with its place. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address

from discovery.address import Addr, Endpoint, Neg, bound
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable

_WORD = re.compile(r"[!-~]+")


def could_exist(name: str) -> bool:
    return _WORD.fullmatch(name) is not None


def addr(line: bytes) -> Addr:
    """What was told about a name that is watched."""
    kind, *words = _words(line)
    if kind == "NONE" and not words:
        return Neg()
    if kind != "HERE":
        raise Unavailable(f"the registry's line can't be read: {kind!r} instead of HERE, NONE or DENIED")
    return bound(_endpoint(number, word) for number, word in enumerate(words, 2))


def names(line: bytes) -> list[Path]:
    kind, *words = _words(line)
    if kind != "NAMES":
        raise Unavailable(f"the registry's line can't be read: {kind!r} instead of NAMES or DENIED")
    return [Path((word,)) for word in words]


def _words(line: bytes) -> list[str]:
    if not line.endswith(b"\n"):
        raise Unavailable(f"the registry's line breaks off after {len(line)} bytes")
    words = line.decode(errors="replace").split() or [""]
    if words == ["DENIED"]:
        raise Misconfigured("the registry does not talk to this host; ask its owner to let it in")
    return words


def _endpoint(number: int, word: str) -> Endpoint:
    address, _, port = word.rpartition(":")
    address = address.strip("[]")
    if not _is_address(address) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Unavailable(f"the registry's line can't be read: word {number}: {word!r} instead of address:port")
    return Endpoint(address, int(port), origin=word)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
