"""How we say who we are: not at all, with a token or a password from a file. `login` has the fourth way."""

from __future__ import annotations

import base64
from pathlib import Path as FilePath
from typing import Protocol

from discovery.source import Misconfigured


class Credential(Protocol):
    async def header(self) -> str:
        """The value of `Authorization`; '' for none. Raises Misconfigured and Unavailable."""
        ...

    async def renew(self, refused: str) -> bool:
        """Whether there is, or may be, another header than `refused`, so that asking once more makes sense."""
        ...


class SecretFile:
    """One line, read again when the file changes."""

    def __init__(self, file: FilePath, key: str) -> None:
        self._file, self._key = file, key
        self._stamp: tuple[int, int, int] | None = None
        self._text = ""

    def text(self) -> str:
        """Raises Misconfigured."""
        try:
            found = self._file.stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                self._text, self._stamp = self._read(), stamp
        except OSError as error:
            raise Misconfigured(f"{self._key} {self._file} cannot be read: {error.strerror}") from error
        return self._text

    def _read(self) -> str:
        text = self._file.read_text(errors="replace").strip()
        if not text or not text.isprintable():
            raise Misconfigured(f"{self._key} {self._file} has to hold one line, and nothing else")
        return text


class Anonymous:
    async def header(self) -> str:
        return ""

    async def renew(self, refused: str) -> bool:
        return False


class Token:
    """A token of DC/OS that somebody else keeps fresh."""

    def __init__(self, file: SecretFile) -> None:
        self._file = file

    async def header(self) -> str:
        token = self._file.text()
        if not token.isascii() or " " in token:
            raise Misconfigured("token_file has to hold a token, in ASCII and without blanks")
        return f"token={token}"

    async def renew(self, refused: str) -> bool:
        return await self.header() != refused


class Basic:
    def __init__(self, user: str, password: SecretFile) -> None:
        self._user, self._password = user, password

    async def header(self) -> str:
        pair = f"{self._user}:{self._password.text()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    async def renew(self, refused: str) -> bool:
        return await self.header() != refused
