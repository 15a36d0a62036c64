"""What binds names on this host: the agent's own table and policies, behind those of the fleet if there are any. Pure.

The fleet's come first and the agent's own after them; of both, later entries win. So a host can say otherwise.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, field

from mesh.agent.table_version import table_version
from mesh.config import policies, wording
from mesh.config.model import Config
from mesh.config.problem import Problem
from mesh.control.version import Version
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab
from mesh.policy.entry import PolicyEntry

TOLD = 5
"""So many mistakes of one table are told, and how many there are."""


@dataclass(frozen=True, slots=True)
class Table:
    """`version`: tells it from others, in `status` and access logs. `fleet`: the control plane's part of it."""

    dtab: Dtab
    policies: tuple[PolicyEntry, ...]
    version: str
    fleet: Version | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A version that can't be used on this host. `passes`: it may be usable later, though nobody changes it."""

    fleet: Version
    reason: str
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Own:
    """The agent's own part. `folder`: whence relative places in the fleet's policies are seen."""

    dtab: Dtab = field(default_factory=Dtab)
    policies: tuple[PolicyEntry, ...] = ()
    folder: pathlib.Path = pathlib.Path()

    @classmethod
    def of(cls, config: Config, folder: pathlib.Path) -> Own:
        return cls(config.dtab, config.policies, folder)

    def alone(self) -> Table:
        return Table(self.dtab, self.policies, table_version(self.dtab, self.policies))

    def behind(self, fleet: Version) -> Table | Refused:
        """A namespace that does not exist, or was deleted, is an empty table."""
        if fleet.content is None:
            return self._joined(fleet, Dtab(), ())
        try:
            dtab = parse_dtab(fleet.content.dtab, f"{fleet.namespace}, version {fleet.number}")
        except DtabSyntaxError as error:
            place = f"dtab, line {error.line}, column {error.column}"
            return Refused(fleet, f"{place}: {wording.misread(error)}. {wording.DTAB_HINT}")
        where = f"policies of {fleet.namespace}, version {fleet.number}"
        entries, problems = policies.from_text(fleet.content.policies, where, self.folder)
        if problems:
            return Refused(fleet, _told(problems))
        return self._joined(fleet, dtab, entries)

    def _joined(self, fleet: Version, dtab: Dtab, entries: tuple[PolicyEntry, ...]) -> Table:
        own = f"+{table_version(self.dtab, self.policies)}" if self.dtab or self.policies else ""
        return Table(Dtab((*dtab, *self.dtab)), (*entries, *self.policies), f"{fleet.number}{own}", fleet)


def _told(problems: list[Problem]) -> str:
    told = [_line(each) for each in problems[:TOLD]]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)


def _line(problem: Problem) -> str:
    key = f"{problem.key}: " if problem.key else ""
    place = f"policies, line {problem.line}, column {problem.column}"
    return f"{place}: {key}{problem.message}. {problem.hint}"
