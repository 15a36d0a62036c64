"""Local tables: what a request's headers add to the table, for itself and for the calls it causes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.naming.dtab import Dtab, parse_dtab

CONTEXT: Final = "l5d-ctx-dtab"
"""Written by the proxy before: the local table so far."""
USER: Final = "l5d-dtab"
"""Written by the caller. It wins."""
SIGNATURE: Final = "l5d-dtab-signature"
"""Says that who wrote the local table may do so."""


def local_dtab(headers: Iterable[tuple[str, str]]) -> Dtab:
    """Raises DtabSyntaxError, which names the header. Other headers are ignored; repeated ones are joined."""
    pairs = [(name.lower(), value) for name, value in headers]
    local = Dtab()
    for header in (CONTEXT, USER):
        for name, value in pairs:
            if name == header:
                local += _table(header, value)
    return local


def _table(header: str, value: str) -> Dtab:
    # A proxy on the way may have joined repeated headers with commas, which only a comment could contain.
    table = Dtab()
    for piece in value.split(","):
        table += parse_dtab(piece, f"header {header}")
    return table
