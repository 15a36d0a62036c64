"""Who we are to the API server: nobody, or a token in a file that is read again when it changes. Never shown."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Protocol

from discovery.source import Misconfigured


class Credential(Protocol):
    async def header(self) -> str:
        """The value of `Authorization`; '' for none. Raises Misconfigured."""
        ...

    async def renew(self, refused: str) -> bool:
        """Whether there is something else to say than `refused`, which was answered with 401. Raises Misconfigured."""
        ...


class Anonymous:
    async def header(self) -> str:
        return ""

    async def renew(self, refused: str) -> bool:
        return False


class TokenFile:
    """Kubernetes renews the token of a pod within the hour, in place."""

    def __init__(self, file: FilePath) -> None:
        self._file = file
        self._stamp: tuple[int, int, int] | None = None
        self._header = ""

    async def header(self) -> str:
        try:
            found = self._file.stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                self._header = f"Bearer {self._read()}"
                self._stamp = stamp
        except OSError as error:
            raise Misconfigured(f"the token file {self._file} cannot be read: {error.strerror}") from error
        return self._header

    async def renew(self, refused: str) -> bool:
        self._stamp = None
        return await self.header() != refused

    def _read(self) -> str:
        token = self._file.read_text(errors="replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Misconfigured(f"the token file {self._file} holds no token: one line with nothing but it expected")
        return token
