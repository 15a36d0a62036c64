from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from discovery.marathon.credentials import Anonymous, Basic, SecretFile, Token
from discovery.source import Misconfigured


async def test_who_says_nothing_has_nothing_better_to_say() -> None:
    assert await Anonymous().header() == ""
    assert not await Anonymous().renew("")


async def test_a_token_is_read_again_when_its_file_changes(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    token = Token(SecretFile(file, "token_file"))
    assert await token.header() == "token=one"
    assert not await token.renew("token=one")
    file.write_text("another")
    assert await token.renew("token=one")
    assert await token.header() == "token=another"


async def test_a_user_and_a_password(tmp_path: FilePath) -> None:
    file = tmp_path / "password"
    file.write_text("open sesame\n")
    basic = Basic("aladdin", SecretFile(file, "password_file"))
    assert await basic.header() == "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    file.write_text("another")
    assert await basic.renew("Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==")


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo"])
def test_a_file_without_a_secret_is_named(tmp_path: FilePath, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=rf"password_file {file} has to hold one line"):
        SecretFile(file, "password_file").text()


def test_a_file_that_is_not_there_is_named(tmp_path: FilePath) -> None:
    with pytest.raises(Misconfigured, match=r"token_file .* cannot be read: No such file"):
        SecretFile(tmp_path / "nothing", "token_file").text()


async def test_a_token_with_blanks_is_none(tmp_path: FilePath) -> None:
    (tmp_path / "token").write_text("to ken")
    with pytest.raises(Misconfigured, match="without blanks"):
        await Token(SecretFile(tmp_path / "token", "token_file")).header()
