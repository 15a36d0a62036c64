from __future__ import annotations

from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from discovery.source import Misconfigured
from discovery.tls import Tls


def test_files_that_cannot_be_read_are_named(tmp_path: FilePath) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in (tmp_path / "nowhere.pem", tmp_path / "ca.pem"):
        with pytest.raises(Misconfigured, match=str(file)):
            Tls(ca_file=file).context("Marathon")


def test_a_certificate_has_a_key() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Tls(cert_file=FilePath("cert.pem"))
