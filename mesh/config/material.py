"""The files of certificates that a configuration names: read and checked as the agent will."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mesh.config import certificates
from mesh.config.certificates import BadCertificate, Material
from mesh.config.checks import Finding
from mesh.config.document import Loc
from mesh.config.routers import Router


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
