"""Signatures of local tables: only who has the key may delegate where a router asks for them. Pure.

    l5d-dtab-signature: <seconds since 1970 until which it holds>.<hex HMAC-SHA256 of "<seconds>\\n<table>">

What is signed is the table as Tieline writes it, so that spaces and comments don't matter.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

LEAST_KEY_BYTES = 16
_FORM = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Invalid:
    reason: str


def sign(key: bytes, table: str, until: int) -> str:
    """`until`: seconds since 1970."""
    signed = f"{until}\n{table}".encode()
    return f"{until}.{hmac.new(key, signed, hashlib.sha256).hexdigest()}"


def verified(key: bytes, table: str, signature: str, now: float) -> int | Invalid:
    """Until when it holds."""
    if not signature:
        return Invalid("this router accepts no table without a signature (l5d-dtab-signature)")
    form = _FORM.fullmatch(signature.strip())
    if form is None:
        return Invalid("l5d-dtab-signature is no signature: <seconds>.<64 hexadecimal digits> expected")
    until = int(form[1])
    if not hmac.compare_digest(sign(key, table, until), signature.strip()):
        return Invalid("l5d-dtab-signature belongs to another table or was made with another key")
    if until < now:
        return Invalid("l5d-dtab-signature holds no longer")
    return until
