from __future__ import annotations

import pytest

from mesh.naming.signature import Invalid, sign, verified

KEY, TABLE = b"k" * 16, "/svc/users=>/#/files/next"


def test_a_signature_holds_for_its_table_its_key_and_its_time() -> None:
    signature = sign(KEY, TABLE, 1000)
    assert verified(KEY, TABLE, signature, 999) == 1000
    assert verified(KEY, TABLE, f" {signature} ", 1000) == 1000
    for key, table, now in ((b"x" * 16, TABLE, 0), (KEY, TABLE + " ", 0), (KEY, TABLE, 1001)):
        assert isinstance(verified(key, table, signature, now), Invalid)


@pytest.mark.parametrize("signature", ["", "x", "1000", "1000.", ".", "1000." + "f" * 63, "-1." + "0" * 64, "é" * 70])
def test_what_is_no_signature_is_told_from_a_wrong_one(signature: str) -> None:
    found = verified(KEY, TABLE, signature, 0)
    assert isinstance(found, Invalid)
    assert "another" not in found.reason


def test_the_time_is_signed_too() -> None:
    _, _, digest = sign(KEY, TABLE, 1000).partition(".")
    assert isinstance(verified(KEY, TABLE, f"2000.{digest}", 0), Invalid)
