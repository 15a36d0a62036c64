"""What the snapshot holds, as text and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from discovery.address import Addr, Bound, Endpoint, Health, Neg, Protocol, bound
from discovery.remote.reading import Fields
from mesh.control.version import Content, Version


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the control plane said last. `sources`: the list of its sources, as it came."""

    table: Version | None = None
    sources: str | None = None


def fleet_rows(fleet: Fleet) -> Iterator[tuple[str, str]]:
    if fleet.table is not None:
        yield "table", json.dumps(asdict(fleet.table), separators=(",", ":"))
    if fleet.sources is not None:
        yield "sources", fleet.sources


def read_fleet(rows: Mapping[str, str]) -> Fleet:
    """Raises ValueError, KeyError, TypeError."""
    return Fleet(_version(Fields.parse(rows["table"])) if "table" in rows else None, rows.get("sources"))


def _version(said: Fields) -> Version:
    content = None if said.values["content"] is None else said.fields("content")
    return Version(
        said.text("namespace"),
        said.whole("number"),
        said.number("at"),
        said.text("who"),
        said.text("why"),
        None if content is None else Content(content.text("dtab"), content.text("policies")),
    )


def encode(addr: Addr) -> str:
    if isinstance(addr, Neg):
        return "null"
    return json.dumps([_row(endpoint) for endpoint in addr.endpoints], separators=(",", ":"))


def _row(endpoint: Endpoint) -> list[object]:
    protocol = endpoint.protocol.value if endpoint.protocol else None
    plain = [endpoint.address, endpoint.port, endpoint.weight, endpoint.zone, endpoint.health.value, endpoint.host]
    return [*plain, protocol, endpoint.identity, endpoint.metadata]


def decode(text: str) -> Addr:
    rows = json.loads(text)
    return Neg() if rows is None else bound(_endpoints(rows)) if rows else Bound()


def _endpoints(rows: Iterable[list[object]]) -> Iterable[Endpoint]:
    for address, port, weight, zone, health, host, protocol, identity, metadata in rows:
        yield Endpoint(
            address=str(address),
            port=int(str(port)),
            weight=float(str(weight)),
            zone=str(zone),
            health=Health(health),
            host=str(host),
            protocol=Protocol(protocol) if protocol else None,
            identity=str(identity),
            metadata=tuple((str(key), str(value)) for key, value in metadata),  # type: ignore[attr-defined]  # JSON
        )
