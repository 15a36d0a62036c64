import os
from pathlib import Path as FilePath

import pytest
from pydantic import SecretStr

from discovery.consul.credentials import Given, InFile
from discovery.source import Misconfigured


def test_a_given_token_is_not_shown() -> None:
    given = Given(SecretStr("s3cret"))
    assert given.token() == "s3cret"
    assert "s3cret" not in repr(given) + repr(vars(given))
    assert Given(None).token() == ""


def test_a_file_is_read_again_when_it_changes(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    credential = InFile(file)
    with pytest.raises(Misconfigured, match="cannot be read"):
        credential.token()
    file.write_text("first\n")
    assert credential.token() == "first"
    file.write_text("other\n")
    os.utime(file, (1, 1))
    assert credential.token() == "other"
    assert "other" not in repr(credential)


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "tök"])
def test_what_is_no_token_is_refused_without_showing_it(tmp_path: FilePath, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(Misconfigured, match="one line") as raised:
        InFile(file).token()
    assert "two" not in str(raised.value)
