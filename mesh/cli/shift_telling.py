"""What `tieline shift` says on its way: a line for each event, and on a terminal how the step goes on."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import typer

from mesh.cli.options import Format

_ERASE = "\r\x1b[K"


@dataclass(slots=True)
class Telling:
    output: Format
    _is_live: bool = False

    @property
    def asks(self) -> bool:
        return self.output is Format.TABLE and sys.stdin.isatty() and sys.stdout.isatty()

    def event(self, event: str, line: str, **fields: object) -> None:
        self._erase()
        if self.output is Format.JSON:
            typer.echo(json.dumps({"event": event, "at": round(time.time(), 3), **fields}, ensure_ascii=False))
        else:
            typer.echo(f"{time.strftime('%H:%M:%S')} {line}")
        sys.stdout.flush()

    def live(self, line: str) -> None:
        if self.output is Format.TABLE and sys.stdout.isatty():
            self._is_live = True
            typer.echo(f"{_ERASE}{line}", nl=False)

    def _erase(self) -> None:
        if self._is_live:
            typer.echo(_ERASE, nl=False)
            self._is_live = False
