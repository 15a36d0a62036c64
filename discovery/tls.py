"""How TLS to a platform is set up, for the sources that speak HTTP themselves."""

from __future__ import annotations

import ssl
from pathlib import Path as FilePath
from typing import Self

from pydantic import ConfigDict, model_validator

from discovery.documented import Documented
from discovery.source import Misconfigured


class Tls(Documented):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: FilePath | None = None
    """Who may have signed the platform's certificate; the system's authorities unless said."""
    cert_file: FilePath | None = None
    """Our certificate, where one is asked for; with `key_file`."""
    key_file: FilePath | None = None
    """The key of `cert_file`."""
    server_name: str | None = None
    """The name in the platform's certificate, where it is not the address."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self

    def context(self, platform: str) -> ssl.SSLContext:
        """Raises Misconfigured."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file)
            raise Misconfigured(f"TLS to {platform}: one of {files} cannot be used: {error}") from error
        return context
