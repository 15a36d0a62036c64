"""The control plane's configuration as values. Each key's text below is its documentation."""

from __future__ import annotations

import ipaddress
import os
import pathlib
import re
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, WithJsonSchema

from discovery.settings import SourceConfig
from mesh.config import places
from mesh.config.control import Reached, Urls
from mesh.config.fields import Address, AnyPort, Place, Section, Size, Time
from mesh.config.model import Log, Naming, socket_folder
from mesh.control.store.config import SqliteStoreConfig, StoreConfig

_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


def _share(value: object) -> object:
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"a share such as 10% expected, not {value!r}")
    return float(found[1]) / 100


Share = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, le=1),
    WithJsonSchema({"type": "string", "pattern": f"^{_SHARE.pattern}$"}),
]
"""From 0 to 1. Written `10%`."""


class ListenTls(Section):
    cert: Place = Field(examples=["/etc/tieline/control.pem"])
    """The certificate in PEM, those that it is signed by behind it. Read again when it changes."""
    key: Place = Field(examples=["/etc/tieline/control.key"])
    """Its private key in PEM, without a passphrase."""
    client_ca: Place | None = Field(default=None, examples=["/etc/tieline/clients.pem"])
    """The authorities whose clients may show a certificate instead of a token; `tokens_file` says what they may do."""


class Listen(Section):
    address: Address = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The IP address on which the API listens. One that other hosts can reach needs `tls` and `tokens_file`."""
    port: AnyPort | None = Field(default=4180, examples=[4180])
    """The port of the API; 0: any free one; null: none, only the Unix socket `control.sock` in `run_dir`."""
    tls: ListenTls | None = Field(default=None)
    """The API speaks TLS. null: plain HTTP."""

    @property
    def is_remote(self) -> bool:
        """Whether other hosts can reach it."""
        return self.port is not None and not ipaddress.ip_address(self.address).is_loopback


class Preview(Section):
    limit: Share = Field(default=0.1, examples=["10%"])
    """A change that would move more than this share of the requests is refused unless the caller says yes."""


class Journal(Section):
    age: Time = Field(default=86_400.0, examples=["24h"])
    """How far back `explain --at` can look."""
    size: Size = Field(default=256 * 1024**2, examples=["256MiB"])
    """How much disk that may take; the oldest is dropped."""


class Replicas(Reached):
    url: Urls = Field(examples=["https://control-2.example:4180"])
    """Where the replicas are: all of them, so that every replica may have the same file, or all others."""


class ControlConfig(Section):
    run_dir: Annotated[Place, AfterValidator(socket_folder)] = Field(
        validate_default=True, default_factory=partial(places.run_dir, os.environ), examples=["/run/tieline"]
    )
    """The folder of the Unix socket. Without it: `$XDG_RUNTIME_DIR/tieline`, else `/run/tieline`."""
    state_dir: Place = Field(default_factory=partial(places.state_dir, os.environ), examples=["/var/lib/tieline"])
    """The folder of what outlives a restart. Without it: `$XDG_STATE_HOME/tieline`, else `/var/lib/tieline`."""
    store: StoreConfig | None = Field(default=None)
    """Where tables and policies are kept. null: the SQLite file `control.sqlite` in `state_dir`."""
    sources: tuple[SerializeAsAny[SourceConfig], ...] = Field(default=())
    """What is observed for all agents, one entry for each platform."""
    naming: Naming = Field(default_factory=Naming)
    """How names are bound, where the control plane itself binds them: in previews and explanations."""
    listen: Listen = Field(default_factory=Listen)
    """Where the API answers, and agents connect."""
    tokens_file: Place | None = Field(default=None, examples=["/etc/tieline/tokens.yaml"])
    """Who may do what: see `tieline control token`. Read again when it changes."""
    allow: Literal["none", "read"] | None = Field(default=None, examples=["none"])
    """What callers without a token may do on the port. null: `read` on a loopback address, else `none`."""
    preview: Preview = Field(default_factory=Preview)
    """When a change is refused for what it would move."""
    journal: Journal = Field(default_factory=Journal)
    """What is kept of the past."""
    replicas: Replicas | None = Field(default=None)
    """The other replicas on this store: asked which names their agents use, when a change is previewed. null: none."""
    log: Log = Field(default_factory=Log)
    """What the control plane writes to its standard error."""

    @property
    def socket(self) -> pathlib.Path:
        return self.run_dir / "control.sock"

    @property
    def lets_strangers_read(self) -> bool:
        """What `allow` comes to."""
        return not self.listen.is_remote if self.allow is None else self.allow == "read"

    @property
    def kept_in(self) -> StoreConfig:
        """What `store` comes to."""
        return self.store or SqliteStoreConfig(file=self.state_dir / "control.sqlite")
