"""How TLS to the masters and to the login is set up."""

from __future__ import annotations

import ssl
from pathlib import Path as FilePath
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from discovery.source import Misconfigured


class Tls(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: FilePath | None = None
    """Who may have signed the masters' certificates (DC/OS: `dcos-ca.crt`); the system's authorities unless said."""
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str | None = None
    """The name in the masters' certificates, where it is not the address."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self

    def context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file)
            raise Misconfigured(f"TLS to Marathon: one of {files} cannot be used: {error}") from error
        return context
