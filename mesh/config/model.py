"""The configuration as values. Each key's text below is its documentation and goes into the JSON schema."""

from __future__ import annotations

import os
import pathlib
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SerializeAsAny, WithJsonSchema

from discovery.settings import Duration, SourceConfig
from mesh.config import places
from mesh.config.control import Control
from mesh.config.fields import Address, AnyPort, Count, Flag, Place, Section, Size, Time, text
from mesh.config.routers import Router
from mesh.config.seeing import AccessLog, Metrics, Tracing
from mesh.naming.dtab import Dtab, parse_dtab
from mesh.policy.entry import PolicyEntry

SOCKET_NAME_LIMIT = 90
"""A Unix socket's path has at most 107 bytes; this leaves 16 for the longest name in `run_dir`."""

MOST_WORKERS = 4


def socket_folder(path: pathlib.Path) -> pathlib.Path:
    if len(os.fsencode(path)) > SOCKET_NAME_LIMIT:
        raise ValueError(f"a folder of at most {SOCKET_NAME_LIMIT} bytes expected, because Unix sockets stand in it")
    return path


def _with_missing(conditions: tuple[str, ...]) -> tuple[str, ...]:
    if "missing" not in conditions:
        raise ValueError("a list that holds at least `missing` expected")
    return conditions


def _dtab(value: object) -> object:
    return value if isinstance(value, Dtab) else parse_dtab(text(value))


DtabText = Annotated[
    Dtab,
    BeforeValidator(_dtab),
    PlainSerializer(Dtab.show),
    WithJsonSchema({"type": "string"}),
]


class Admin(Section):
    address: Address = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The IP address on which the admin API listens."""
    port: AnyPort | None = Field(default=9990, examples=[9990])
    """The port of the admin API; 0: any free one; null: none, only the Unix socket `admin.sock` in `run_dir`."""
    allow_remote: Flag = Field(default=False, examples=[True])
    """Permit an address that other hosts can reach. The admin API asks for no password."""


class Naming(Section):
    alternate_on: Annotated[tuple[Literal["missing", "empty"], ...], AfterValidator(_with_missing)] = Field(
        default=("missing", "empty"), examples=["[missing, empty]"]
    )
    """When `|` moves on to the next alternative: the name is `missing`, or known to have no endpoint (`empty`)."""
    bind_timeout: Time = Field(default=2.0, examples=["2s"])
    """A source that has never answered counts as missing after this time."""
    max_depth: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(default=100, examples=[100])
    """How many times a name may be rewritten before it is taken for a loop."""


class Names(Section):
    idle: Time = Field(default=600.0, examples=["10m"])
    """A name that nobody has called for this time is unbound."""
    negative: Time = Field(default=5.0, examples=["5s"])
    """How long the answer "no such name" is remembered."""
    limit: Count = Field(default=20_000, examples=[20000])
    """How many names may be bound at once."""
    negative_limit: Count = Field(default=1000, examples=[1000])
    """How many missing names are remembered at once."""
    linger: Duration = Field(default=10.0, examples=["10s"])
    """How long a source goes on observing a name that nobody wants any more."""


class Envoy(Section):
    concurrency: Count | None = Field(default=None, examples=[2])
    """Envoy's worker threads; null: one for each core, at most 4."""
    drain: Duration = Field(default=10.0, examples=["10s"])
    """How long requests under way may take when the agent ends or Envoy is replaced."""
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = Field(
        default="warning", examples=["warning"]
    )
    """Envoy's own log level."""
    connections: Count = Field(default=20_000, examples=[20000])
    """How many callers may be connected at once, to all routers together; more are closed."""
    memory: Annotated[Size, Field(ge=64 * 1024**2)] | None = Field(default=None, examples=["512MiB"])
    """Envoy's heap at most. Near it: memory is given back, the largest requests are cut, all are refused. null: any."""
    binary: Place | None = Field(default=None, examples=["/usr/local/bin/envoy"])
    """The Envoy to run; null: the one installed with Tieline."""

    @property
    def workers(self) -> int:
        return self.concurrency or min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", examples=["info"])
    """What the agent logs: this level and above."""
    format: Literal["text", "json"] = Field(default="text", examples=["text"])
    """`text` for people, `json` for one JSON object a line."""


class Config(Section):
    run_dir: Annotated[Place, AfterValidator(socket_folder)] = Field(
        validate_default=True, default_factory=partial(places.run_dir, os.environ), examples=["/run/tieline"]
    )
    """The folder of sockets and locks. Without it: `$XDG_RUNTIME_DIR/tieline`, else `/run/tieline`."""
    state_dir: Place = Field(default_factory=partial(places.state_dir, os.environ), examples=["/var/lib/tieline"])
    """The folder of what outlives a restart. Without it: `$XDG_STATE_HOME/tieline`, else `/var/lib/tieline`."""
    admin: Admin = Field(default_factory=Admin)
    """Where the agent answers questions about itself."""
    dtab: DtabText = Field(default_factory=Dtab, examples=["/svc => /#/files"])
    """The delegation table: where each name leads. Later entries are tried first."""
    dtab_file: Place | None = Field(default=None, examples=["tieline.dtab"])
    """A file that holds the delegation table, instead of `dtab`."""
    policies: tuple[PolicyEntry, ...] = Field(default=())
    """What holds for the requests of which names: see [traffic](traffic.md). Later entries win."""
    policies_file: Place | None = Field(default=None, examples=["policies.yaml"])
    """A file that holds the list of policies, instead of `policies`."""
    zone: str = Field(default="", examples=["eu-west-1a"])
    """The zone of this host, for `prefer_zone`."""
    control: Control | None = Field(default=None)
    """The control plane that gives this agent its table and observes platforms for it. null: it has none."""
    sources: tuple[SerializeAsAny[SourceConfig], ...] = Field(default=())
    """What is observed, one entry for each platform."""
    routers: tuple[Router, ...] = Field(
        default=(Router(),),
        min_length=1,
        json_schema_extra={"default": [{"name": "http", "address": "127.0.0.1", "port": 4140}]},
    )
    """Where applications send their requests."""
    naming: Naming = Field(default_factory=Naming)
    """How names are bound."""
    names: Names = Field(default_factory=Names)
    """How long names are kept, and how many."""
    envoy: Envoy = Field(default_factory=Envoy)
    """The proxy."""
    metrics: Metrics = Field(default_factory=Metrics)
    """What is counted: see [metrics](how-it-works.md#metrics)."""
    access_log: AccessLog = Field(default_factory=AccessLog)
    """What is written of each request: see [traffic](traffic.md#access_log)."""
    tracing: Tracing = Field(default_factory=Tracing)
    """Spans of requests, for a collector: see [traffic](traffic.md#tracing)."""
    log: Log = Field(default_factory=Log)
    """What the agent writes to its standard error."""

    @property
    def admin_socket(self) -> pathlib.Path:
        return self.run_dir / "admin.sock"
