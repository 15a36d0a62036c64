"""The ACL token: given, or in a file that is read again when it changes. Never shown."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Protocol

from pydantic import SecretStr

from discovery.source import Misconfigured


class Credential(Protocol):
    def token(self) -> str:
        """'' for none. Raises Misconfigured."""
        ...


class Given:
    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret

    def token(self) -> str:
        return self._secret.get_secret_value() if self._secret else ""


class InFile:
    def __init__(self, file: FilePath) -> None:
        self._file = file
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""

    def token(self) -> str:
        try:
            found = self._file.stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                self._token = self._read()
                self._stamp = stamp
        except OSError as error:
            raise Misconfigured(f"token_file {self._file} cannot be read: {error.strerror}") from error
        return self._token

    def _read(self) -> str:
        token = self._file.read_text(errors="replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Misconfigured(f"token_file {self._file} holds no token: one line with nothing but the token expected")
        return token
