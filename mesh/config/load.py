"""A file -> `Config`, or every mistake in it at once."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, field

from mesh.config import certificates, checks, document, material, policies, reading, wording
from mesh.config.document import Document, Loc
from mesh.config.model import Config
from mesh.config.problem import ConfigError, Problem
from mesh.config.report import Report, Table
from mesh.config.sections import Sections
from mesh.naming.dtab import DtabSyntaxError, parse_dtab
from mesh.naming.signature import LEAST_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Examined:
    """`config` is None exactly if there are `errors`. With `warnings` alone the agent runs."""

    config: Config | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one file of configuration says of certificates."""

    report: Report
    named: list[material.Named] = field(default_factory=list)
    unverified: list[checks.Finding] = field(default_factory=list)


def load(path: pathlib.Path) -> Config:
    """Raises ConfigError. What certificates are worth is not asked: an agent that runs has the last good ones."""
    examined = examine(path, material_too=False)
    if examined.config is None:
        raise ConfigError(examined.errors)
    return examined.config


def examine(path: pathlib.Path, *, material_too: bool = True) -> Examined:
    """`material_too`: the files of certificates as well."""
    try:
        text = reading.text(path)
    except reading.Unreadable as error:
        return Examined(None, (error.problem,))
    return _Examination(path, document.read(text)).run(material_too)


class _Examination:
    def __init__(self, path: pathlib.Path, read: Document) -> None:
        self._path = path
        self._document = read
        self._report = Report(str(path), read)
        self._sections = Sections(path.parent, read, self._report)
        self._table = Table()

    def run(self, material_too: bool) -> Examined:
        self._report.flaws()
        keys = self._sections.keys(Config)
        config = None if keys is None else self._config(keys)
        errors = self._report.problems
        looked: list[_Looked] = []
        if config is not None:
            self._check_keys(config)
            errors += self._report.found(checks.contradictions(config), self._table)
            looked = self._material(config) if material_too else []
            errors += [each for look in looked for each in look.report.found(material.faults(look.named), Table())]
        if config is None or errors:
            here = str(self._path)
            return Examined(None, tuple(sorted(errors, key=lambda each: (each.file != here, each.line, each.column))))
        config = config.model_copy(update={"dtab": self._report.placed(config.dtab, self._table)})
        if config.policies_file is None:
            entries = policies.placed(config.policies, self._document, str(self._path), ("policies",))
            config = config.model_copy(update={"policies": entries})
        doubts = self._report.found(checks.doubts(config), self._table)
        for look in looked:
            dates = material.doubts(look.named, certificates.now())
            doubts += look.report.found([*look.unverified, *dates], Table())
        if config.control is not None and material_too:
            doubts += self._report.found(material.doubts_of_control(config.control, certificates.now()), Table())
        return Examined(config, (), tuple(doubts))

    def _material(self, config: Config) -> list[_Looked]:
        here = _Looked(self._report, list(material.of_routers(config.routers)))
        entries, there = config.policies, here
        above: Loc = ("policies",)
        if (file := config.policies_file) is not None:
            above, there = (), _Looked(Report(str(file), document.read(reading.text(file))))
        there.named.extend(material.of_policies(entries, above))
        there.unverified.extend(material.unverified(entries, above))
        return [here] if there is here else [here, there]

    def _config(self, keys: dict[str, object]) -> Config | None:
        sources = self._sections.sources(keys.pop("sources", None))
        keys["sources"] = tuple(sources.values())
        self._read_table(keys)
        self._read_policies(keys)
        config = self._sections.validated(Config, keys, ())
        if config is None or self._report.problems:
            self._report.problems += self._report.found(checks.source_contradictions(sources), self._table)
            return None
        return config

    def _read_table(self, keys: dict[str, object]) -> None:
        name, inline, loc = keys.get("dtab_file"), keys.get("dtab"), ("dtab_file",)
        if isinstance(inline, str):
            self._table = Table(inline)
        if not isinstance(name, str):
            return
        if "dtab" in keys:
            self._report.key(loc, "`dtab` and `dtab_file` both give the table", "Remove one of the two")
            return
        file = self._path.parent / name
        try:
            self._table = Table(reading.text(file), str(file))
            keys["dtab"] = parse_dtab(self._table.text)
        except reading.Unreadable as error:
            if error.problem.line:
                self._report.problems.append(error.problem)
            else:
                self._report.value(loc, f"{name}: {error.problem.message}", error.problem.hint)
        except DtabSyntaxError as error:
            message = wording.misread(error)
            self._report.problems.append(Problem(str(file), error.line, error.column, "", message, wording.DTAB_HINT))

    def _read_policies(self, keys: dict[str, object]) -> None:
        name, loc = keys.get("policies_file"), ("policies_file",)
        if not isinstance(name, str):
            return
        if "policies" in keys:
            self._report.key(loc, "`policies` and `policies_file` both give the policies", "Remove one of the two")
            return
        try:
            keys["policies"], problems = policies.from_file(self._path.parent / name)
            self._report.problems += problems
        except reading.Unreadable as error:
            if error.problem.line:
                self._report.problems.append(error.problem)
            else:
                self._report.value(loc, f"{name}: {error.problem.message}", error.problem.hint)

    def _check_keys(self, config: Config) -> None:
        for index, router in enumerate(config.routers):
            file, loc = router.overrides_key_file, ("routers", index, "overrides_key_file")
            try:
                if file is not None and len(file.read_bytes()) < LEAST_KEY_BYTES:
                    hint = "Make one: head -c 32 /dev/urandom > overrides.key"
                    self._report.value(loc, f"a key of at least {LEAST_KEY_BYTES} bytes expected in {file}", hint)
            except OSError as error:
                message = f"{file}: the file can't be read: {(error.strerror or str(error)).lower()}"
                self._report.value(loc, message, "Give the path of a readable file")
