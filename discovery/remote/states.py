"""A state as JSON, and its version: equal knowledge has an equal version, whichever replica it comes from.

    {"known":[{"address":"10.0.0.1","port":80,…}],"held":"…","lost":null|[…],"since":s,"confirmed_at":s}     null: Neg
    {"pending":null|"reason"}        {"failed":"reason"}

What is the default of an `Endpoint` is left away. `since` and `confirmed_at` are no part of the version: an agent that
comes from another replica need not be told again what it has.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable

from discovery.address import Addr, Bound, Endpoint, Failed, Health, Known, Neg, Pending, Protocol, State, bound
from discovery.remote.reading import BadFrame, Fields, expected

_HEALTH = {health.value: health for health in Health}
_PROTOCOL = {protocol.value: protocol for protocol in Protocol}
_PORTS = range(1, 65_536)
_VERSION_BYTES = 12
_SHOWN = 100
_PLAIN = Endpoint("", 0)


def encode(state: State) -> tuple[str, str]:
    """The version, and the JSON."""
    if not isinstance(state, Known):
        text = json.dumps({"pending" if isinstance(state, Pending) else "failed": state.reason}, separators=(",", ":"))
        return version(text), text
    told: dict[str, object] = {"known": _rows(state.addr)}
    if state.held is not None:
        told["held"] = state.held
    if state.lost is not None:
        told["lost"] = _rows(state.lost)
    text = json.dumps(told, separators=(",", ":"))
    return version(text), f'{text[:-1]},"since":{state.since!r},"confirmed_at":{state.confirmed_at!r}}}'


def version(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_VERSION_BYTES).hexdigest()


def _rows(addr: Addr) -> list[dict[str, object]] | None:
    return None if isinstance(addr, Neg) else [_row(endpoint) for endpoint in addr.endpoints]


def _row(endpoint: Endpoint) -> dict[str, object]:
    row: dict[str, object] = {"address": endpoint.address, "port": endpoint.port}
    for key in ("weight", "zone", "host", "identity", "origin"):
        value = getattr(endpoint, key)
        if value != getattr(_PLAIN, key):
            row[key] = value
    if endpoint.health is not _PLAIN.health:
        row["health"] = endpoint.health.value
    if endpoint.protocol is not None:
        row["protocol"] = endpoint.protocol.value
    if endpoint.metadata:
        row["metadata"] = endpoint.metadata
    return row


def decode(fields: Fields) -> State:
    """Raises BadFrame. A health or protocol that a newer version knows is one that is not known here. A kind of state
    that it knows is Failed here: of that name nothing is known, and all others go on."""
    if "known" in fields.values:
        held = fields.text_or_none("held")
        lost = _addr(fields, "lost") if "lost" in fields.values else None
        return Known(_addr(fields, "known"), fields.number("since"), fields.number("confirmed_at"), held, lost)
    if "failed" in fields.values:
        return Failed(fields.text("failed"))
    if "pending" in fields.values:
        return Pending(fields.text_or_none("pending"))
    if not fields.values:
        raise BadFrame(fields.key, "known, pending or failed expected")
    told = ", ".join(sorted(map(repr, fields.values)))[:_SHOWN]
    return Failed(f"what a later version says is not understood here ({told}); run versions next to each other")


def _addr(fields: Fields, key: str) -> Addr:
    if fields.values[key] is None:
        return Neg()
    return bound(_endpoints(fields.rows(key))) if fields.values[key] else Bound()


def _endpoints(rows: Iterable[Fields]) -> Iterable[Endpoint]:
    for row in rows:
        yield Endpoint(
            address=_address(row),
            port=_port(row),
            weight=row.number("weight", 1.0),
            zone=row.text("zone", ""),
            health=_HEALTH.get(row.text("health", ""), Health.UNKNOWN),
            host=row.text("host", ""),
            protocol=_PROTOCOL.get(row.text("protocol", "")),
            identity=row.text("identity", ""),
            metadata=_metadata(row),
            origin=row.text("origin", ""),
        )


def _address(row: Fields) -> str:
    address = row.text("address")
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise expected("an IP address", address, row.at("address")) from error
    return address


def _port(row: Fields) -> int:
    port = row.whole("port")
    if port not in _PORTS:
        raise expected("a port", port, row.at("port"))
    return port


def _metadata(row: Fields) -> tuple[tuple[str, str], ...]:
    pairs = row.values.get("metadata", [])
    if not isinstance(pairs, list):
        raise expected("a list of pairs", pairs, row.at("metadata"))
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise expected("a pair of texts", pair, row.at("metadata"))
    return tuple((key, value) for key, value in pairs)
