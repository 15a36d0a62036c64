"""The files of certificates that a configuration names: read and checked as the agent will."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from mesh.config import certificates
from mesh.config.certificates import BadCertificate, Material
from mesh.config.checks import Finding
from mesh.config.control import Control, Reached
from mesh.config.document import Loc
from mesh.config.routers import Router
from mesh.policy.entry import PolicyEntry
from mesh.policy.tls import Tls


@dataclass(frozen=True, slots=True)
class Named:
    """What stands in a section at `loc`: a pair if there is a `private` key, else authorities. `key`: of the file."""

    loc: Loc
    key: str
    file: pathlib.Path
    private: pathlib.Path | None = None

    def read(self) -> Material:
        """Raises BadCertificate."""
        if self.private is not None:
            return certificates.pair(self.file, self.private)
        return certificates.bundle(self.file, self.key)


def of_routers(routers: Iterable[Router]) -> Iterator[Named]:
    for index, router in enumerate(routers):
        if (tls := router.tls) is not None:
            yield Named(("routers", index, "tls"), "cert", tls.cert, tls.key)
            if tls.client_ca is not None:
                yield Named(("routers", index, "tls"), "client_ca", tls.client_ca)


def of_policies(entries: Sequence[PolicyEntry], above: Loc = ("policies",)) -> Iterator[Named]:
    """`above`: where the list of them stands."""
    said = [(index, entry.tls) for index, entry in enumerate(entries) if entry.tls is not None]
    elsewhere = any(isinstance(tls.ca, pathlib.Path) for _, tls in said)
    for index, tls in said:
        loc = (*above, index, "tls")
        if (file := authorities(tls)) is not None and (not elsewhere or "ca" in tls.model_fields_set or file.exists()):
            yield Named(loc, "ca", file)
        if tls.cert is not None:
            yield Named(loc, "cert", tls.cert, tls.key)


def of_control(control: Reached, section: str = "control") -> Iterator[Named]:
    loc, tls = (section, "tls"), control.tls
    if tls.ca is not None:
        yield Named(loc, "ca", tls.ca)
    if tls.cert is not None:
        yield Named(loc, "cert", tls.cert, tls.key)


def doubts_of_control(control: Control, now: datetime) -> Iterator[Finding]:
    """An agent that can't reach its control plane serves all the same, so it may start."""
    named = list(of_control(control))
    bad = list(faults(named))
    yield from bad or doubts(named, now)
    try:
        if control.token_file is not None:
            control.token_file.read_bytes()
    except OSError as error:
        message = f"{control.token_file}: the file can't be read: {(error.strerror or str(error)).lower()}"
        yield Finding(("control", "token_file"), message, "Give the path of a readable file")


def authorities(tls: Tls) -> pathlib.Path | None:
    if not tls.verify:
        return None
    return tls.ca if isinstance(tls.ca, pathlib.Path) else certificates.system_bundle()


def unverified(entries: Sequence[PolicyEntry], above: Loc = ("policies",)) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        if entry.tls is not None and not entry.tls.verify:
            message = "whoever answers is believed to be the service, with any certificate"
            yield Finding((*above, index, "tls", "verify"), message, "Remove it, and give `ca` and `san`")


def faults(named: Iterable[Named]) -> Iterator[Finding]:
    for each in named:
        try:
            each.read()
        except BadCertificate as bad:
            yield Finding((*each.loc, bad.key), f"{bad.file}: {bad.message}", bad.hint)


def doubts(named: Iterable[Named], now: datetime) -> Iterator[Finding]:
    """Of what has no faults."""
    for each in named:
        if (doubt := each.read().doubt(now)) is not None:
            yield Finding((*each.loc, each.key), f"{each.file}: this certificate {doubt}", "Renew it")
