"""A file -> `ControlConfig`, or every mistake in it at once."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from discovery.settings import SourceConfig
from mesh.config import certificates, document, material, reading, wording
from mesh.config.checks import Finding, source_contradictions
from mesh.config.document import Document, Loc
from mesh.config.material import Named
from mesh.config.problem import ConfigError, Problem
from mesh.config.report import Report, Table
from mesh.config.sections import Sections
from mesh.control.config import ControlConfig
from mesh.control.grants import examine as examine_grants
from mesh.control.store.config import ConsulStoreConfig, EtcdStoreConfig, SqliteStoreConfig, StoreConfig

SYSTEM_FILE = pathlib.Path("/etc/tieline/control.yaml")

_STORE_EXAMPLE = "store: {kind: sqlite, file: control.sqlite}"
_NO_TABLE = Table()
_KINDS: Mapping[str, type[SqliteStoreConfig | ConsulStoreConfig | EtcdStoreConfig]] = {
    "sqlite": SqliteStoreConfig,
    "consul": ConsulStoreConfig,
    "etcd": EtcdStoreConfig,
}


@dataclass(frozen=True, slots=True)
class Examined:
    """`config` is None exactly if there are `errors`. With `warnings` alone the control plane runs."""

    config: ControlConfig | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def load(path: pathlib.Path) -> ControlConfig:
    """Raises ConfigError."""
    examined = examine(path)
    if examined.config is None:
        raise ConfigError(examined.errors)
    return examined.config


def examine(path: pathlib.Path) -> Examined:
    try:
        text = reading.text(path)
    except reading.Unreadable as error:
        return Examined(None, (error.problem,))
    return _Examination(path, document.read(text)).run()


class _Examination:
    def __init__(self, path: pathlib.Path, read: Document) -> None:
        self._path = path
        self._report = Report(str(path), read)
        self._sections = Sections(path.parent, read, self._report)

    def run(self) -> Examined:
        self._report.flaws()
        keys = self._sections.keys(ControlConfig)
        config = None if keys is None else self._config(keys)
        if config is None:
            return self._refused()
        named = list(_material(config))
        problems = self._report.problems
        problems += self._report.found(_contradictions(config), _NO_TABLE)
        problems += self._report.found(material.faults(named), _NO_TABLE)
        if config.tokens_file is not None:
            problems += examine_grants(config.tokens_file).problems
        if problems:
            return self._refused()
        doubts = [*_doubts(config), *material.doubts(named, certificates.now())]
        return Examined(config, (), tuple(self._report.found(doubts, _NO_TABLE)))

    def _refused(self) -> Examined:
        here = str(self._path)
        order = sorted(self._report.problems, key=lambda each: (each.file != here, each.line, each.column))
        return Examined(None, tuple(order))

    def _config(self, keys: dict[str, object]) -> ControlConfig | None:
        sources = self._sections.sources(keys.pop("sources", None))
        keys["sources"] = tuple(sources.values())
        keys["store"] = self._store(keys.pop("store", None))
        config = self._sections.validated(ControlConfig, keys, ())
        if config is None or self._report.problems:
            self._report.problems += self._report.found(source_contradictions(sources), _NO_TABLE)
            return None
        return config

    def _store(self, entry: object) -> StoreConfig | None:
        loc: Loc = ("store",)
        if entry is None:
            return None
        if not isinstance(entry, dict):
            self._report.value(loc, "a section of keys expected", f"Write for example `{_STORE_EXAMPLE}`")
            return None
        kind, kinds = entry.get("kind"), list(_KINDS)
        if "kind" not in entry:
            self._report.value((*loc, "kind"), "the key is missing", f"Kinds of store: {', '.join(kinds)}")
            return None
        if not isinstance(kind, str) or kind not in _KINDS:
            hint = wording.unknown(str(kind), kinds)
            self._report.value((*loc, "kind"), f"no kind of store is called {kind!r}", hint)
            return None
        return self._sections.placed(_KINDS[kind], entry, loc)


def _contradictions(config: ControlConfig) -> Iterator[Finding]:
    yield from source_contradictions(dict[int, SourceConfig](enumerate(config.sources)))
    listen = config.listen
    if listen.is_remote and listen.tls is None:
        message = f"other hosts can reach {listen.address}, and what they send could be read and changed on its way"
        hint = "Add `tls: {cert: …, key: …}`, or use 127.0.0.1"
        yield Finding(("listen", "address"), message, hint)
    if listen.is_remote and config.tokens_file is None:
        message = f"other hosts can reach {listen.address}, and nothing says who of them may do what"
        hint = "Add `tokens_file` with tokens or certificates of clients (tieline control token), or use 127.0.0.1"
        yield Finding(("listen", "address"), message, hint)
    if listen.tls is not None and listen.tls.client_ca is not None and config.tokens_file is None:
        message = "a certificate says who a client is, and nothing says what it may do"
        yield Finding(("listen", "tls", "client_ca"), message, "Add `tokens_file` with a list `certificates`")


def _doubts(config: ControlConfig) -> Iterator[Finding]:
    if config.listen.is_remote and config.lets_strangers_read:
        message = f"whoever reaches {config.listen.address} may read tables, names and addresses, without a token"
        yield Finding(("allow",), message, "Write `allow: none` unless that is meant")
    if config.replicas is not None and isinstance(config.kept_in, SqliteStoreConfig):
        message = "the store is a file of this machine, which replicas on others do not share"
        yield Finding(("replicas",), message, "Use `consul` or `etcd` as the store, or leave `replicas` away")


def _material(config: ControlConfig) -> Iterator[Named]:
    if config.replicas is not None:
        yield from material.of_control(config.replicas, "replicas")
    loc: Loc = ("listen", "tls")
    if (tls := config.listen.tls) is not None:
        yield Named(loc, "cert", tls.cert, tls.key)
        if tls.client_ca is not None:
            yield Named(loc, "client_ca", tls.client_ca)
