"""Files of certificates -> secrets that Envoy has. Read again and again: whatever way a file was replaced, it is seen.

inotify would see less: certbot unlinks and links, Kubernetes swaps a folder's link, and both may lie behind NFS. What
is bad is not served: Envoy keeps the last good one, and status says so. Between the two files of a pair a look may come
in the middle of a change, so what is bad is called so when it is still the same at the next look.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mesh.config import certificates
from mesh.config.certificates import BadCertificate, Material
from mesh.config.material import Named
from mesh.envoy.tls import authorities_secret, certificate_secret
from mesh.xds.resource import SECRET, Resource, resource
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.secrets")

LOOK_SECONDS = 1.0
Signature = tuple[tuple[int, ...] | str, ...]


@dataclass(slots=True)
class _Secret:
    """`read`: the signature of what was read last. `unused_since`: no table in force needs it any more."""

    named: Named
    unused_since: float | None = None
    read: Signature = ()
    good: Material | None = None
    fault: str | None = None
    told: str | None = None

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        return (self.named.file,) if self.named.private is None else (self.named.file, self.named.private)


@dataclass(frozen=True, slots=True)
class _Look:
    signature: Signature
    material: Material | None = None
    fault: str | None = None


@dataclass(slots=True)
class Secrets:
    """`linger_seconds`: as long a cluster that uses one may stay after the table that wanted it."""

    ads: Ads
    clock: Callable[[], float]
    linger_seconds: float
    _secrets: dict[str, _Secret] = field(default_factory=dict)
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def __contains__(self, name: str) -> bool:
        return name in self._secrets

    def need(self, named: Mapping[str, Named]) -> None:
        """From now on these, by the secrets' names. New ones are read now: before what needs them is published."""
        fresh = {name: _Secret(each) for name, each in named.items() if name not in self._secrets}
        # Another thread may be looking at the files of the present ones.
        self._secrets = {**self._secrets, **fresh}
        for name, secret in self._secrets.items():
            secret.unused_since = None if name in named else secret.unused_since or self.clock()
        self._take({name: _look(secret) for name, secret in fresh.items()})
        if self._secrets:
            self._some.set()

    async def keep(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LOOK_SECONDS)
            # A file system that hangs must not stop the brain.
            self._take(await asyncio.to_thread(self._looks, self._secrets))
            self._sweep()

    def _sweep(self) -> None:
        before = self.clock() - self.linger_seconds
        gone = {name for name, each in self._secrets.items() if each.unused_since and each.unused_since < before}
        if gone:
            self._secrets = {name: each for name, each in self._secrets.items() if name not in gone}
            self.ads.apply(remove=[(SECRET, name) for name in sorted(gone)])
        if not self._secrets:
            self._some.clear()

    @staticmethod
    def _looks(secrets: Mapping[str, _Secret]) -> dict[str, _Look]:
        return {name: _look(secret) for name, secret in secrets.items() if secret.fault or _changed(secret)}

    def _take(self, looks: Mapping[str, _Look]) -> None:
        put = []
        for name, look in looks.items():
            secret = self._secrets[name]
            again = look.signature == secret.read
            secret.read = look.signature
            if look.material is not None:
                put.append((SECRET, _resource(name, look.material)))
                self._good(name, secret, look.material)
            else:
                secret.fault = look.fault
                if again or secret.good is None:
                    self._bad(name, secret)
        if put:
            self.ads.apply(put=put)

    def _good(self, name: str, secret: _Secret, material: Material) -> None:
        if secret.good is not None:
            logger.info("a certificate was read again", extra={"fields": _fields(name, secret)})
        secret.good, secret.fault, secret.told = material, None, None
        if doubt := material.doubt(certificates.now()):
            logger.warning("a certificate can't be trusted", extra={"fields": {**_fields(name, secret), "it": doubt}})

    def _bad(self, name: str, secret: _Secret) -> None:
        if secret.fault != secret.told:
            secret.told = secret.fault
            fields = {**_fields(name, secret), "error": secret.fault}
            logger.error("a certificate can't be used; Envoy keeps the last good one", extra={"fields": fields})

    def rows(self) -> list[dict[str, object]]:
        """`error`: the files are bad now. `not_after`, seconds since the epoch: of what Envoy has."""
        return [
            {
                "name": name,
                "files": [str(file) for file in secret.files],
                "not_after": secret.good and secret.good.not_after.timestamp(),
                "doubt": secret.good and secret.good.doubt(certificates.now()),
                "error": secret.told,
            }
            for name, secret in self._secrets.items()
            if secret.unused_since is None
        ]


def _fields(name: str, secret: _Secret) -> dict[str, object]:
    return {"secret": name, "files": ", ".join(map(str, secret.files))}


def _resource(name: str, material: Material) -> Resource:
    if material.private:
        return resource(name, certificate_secret(name, material.certificates, material.private))
    return resource(name, authorities_secret(name, material.certificates))


def _changed(secret: _Secret) -> bool:
    return _signature(secret.files) != secret.read


def _look(secret: _Secret) -> _Look:
    before = _signature(secret.files)
    try:
        return _Look(before, secret.named.read())
    except BadCertificate as bad:
        return _Look(before, fault=str(bad))


def _signature(files: Iterable[pathlib.Path]) -> Signature:
    return tuple(_stat(file) for file in files)


def _stat(file: pathlib.Path) -> tuple[int, ...] | str:
    """Of the file that links lead to."""
    try:
        stat = file.stat()
    except OSError as error:
        return str(error.strerror)
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
