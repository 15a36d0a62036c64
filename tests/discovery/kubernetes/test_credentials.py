from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from discovery.kubernetes.credentials import Anonymous, TokenFile
from discovery.source import Misconfigured


async def test_nobody_says_nothing() -> None:
    assert await Anonymous().header() == ""
    assert not await Anonymous().renew("")


async def test_a_token_is_read_again_when_its_file_changes(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    credential = TokenFile(file)
    assert await credential.header() == "Bearer one"
    file.write_text("another")
    assert await credential.header() == "Bearer another"


async def test_a_token_that_was_refused_is_replaced_by_what_the_file_says_now(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    credential = TokenFile(file)
    header = await credential.header()
    assert not await credential.renew(header)
    file.write_text("two")
    assert await credential.renew(header)
    assert await credential.header() == "Bearer two"


@pytest.mark.parametrize("text", ["", "\n", "two words", "tok\x00en", "schlüssel"])
async def test_a_file_without_a_token_is_refused_and_not_shown(text: str, tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(Misconfigured, match="holds no token") as caught:
        await TokenFile(file).header()
    assert not text.strip() or text not in str(caught.value)


async def test_a_file_that_is_missing_is_named(tmp_path: FilePath) -> None:
    with pytest.raises(Misconfigured, match=rf"{tmp_path}/token cannot be read: No such file"):
        await TokenFile(tmp_path / "token").header()
