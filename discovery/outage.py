"""What fails at one source: counted, and logged as transitions only, with one line for all names that fail together.

The first failure is told at once. What follows within a second is told together: by name while it is a few names,
by count when it is many. Repeats are DEBUG.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from discovery.path import Path

logger = logging.getLogger("tieline.observing")

TOGETHER_SECONDS = 1.0
BY_NAME = 3
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class _Failing:
    since: float
    reason: str


class Outage:
    def __init__(self, source: str, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._failing: dict[Path, _Failing] = {}
        self._untold: dict[Path, str] = {}
        self._recovered: dict[Path, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._bugs: set[tuple[str, str, int]] = set()
        self.errors = 0
        """Attempts that failed, of every name, since the source was opened."""
        self.last_error: str | None = None
        self._last_error_at = 0.0

    @property
    def names(self) -> int:
        """How many names of this source have no stream that answers."""
        return len(self._failing)

    @property
    def last_error_age(self) -> float | None:
        """Seconds."""
        return None if self.last_error is None else self._loop.time() - self._last_error_at

    def is_failing(self, name: Path) -> bool:
        return name in self._failing

    def failed(self, name: Path, reason: str, bug: Exception | None) -> None:
        self.errors += 1
        self.last_error, self._last_error_at = reason, self._loop.time()
        if bug is not None:
            self._report(bug, name)
        known = self._failing.get(name)
        self._failing[name] = _Failing(known.since if known else self._loop.time(), reason)
        if known is not None:
            self._log(logging.DEBUG, "still failing", name=name, reason=reason)
        elif self._recovered.pop(name, None) is None:
            self._untold[name] = reason
            self._tell_soon()

    def recovered(self, name: Path) -> None:
        known = self._failing.pop(name, None)
        if known is not None and self._untold.pop(name, None) is None:
            self._recovered[name] = self._loop.time() - known.since
            self._tell_soon()

    def forget(self, name: Path) -> None:
        """The name is not wanted any more: neither failing nor recovered."""
        for names in (self._failing, self._untold, self._recovered):
            names.pop(name, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._tell()
            self._timer = self._loop.call_later(TOGETHER_SECONDS, self._tell_rest)

    def _tell_rest(self) -> None:
        self._timer = None
        if self._untold or self._recovered:
            self._tell_soon()

    def _tell(self) -> None:
        failed, self._untold = self._untold, {}
        recovered, self._recovered = self._recovered, {}
        self._tell_failed(failed)
        if len(recovered) > BY_NAME:
            lasted = round(max(recovered.values()), 3)
            self._log(logging.INFO, "source answers again", names=len(recovered), after_seconds=lasted)
        else:
            for name, seconds in recovered.items():
                self._log(logging.INFO, "observation recovered", name=name, after_seconds=round(seconds, 3))

    def _tell_failed(self, failed: dict[Path, str]) -> None:
        """What fails for one reason is one line. What fails for reasons of its own is told by name, up to a limit."""
        alike: dict[str, list[Path]] = {}
        for name, reason in failed.items():
            alike.setdefault(reason, []).append(name)
        left = AT_ONCE
        for reason, names in alike.items():
            if len(names) > BY_NAME:
                self._log(logging.WARNING, "source unavailable", names=len(names), reason=reason)
                continue
            for name in names[:left]:
                self._log(logging.WARNING, "observation fails", name=name, reason=reason)
            left -= len(names[:left])
        untold = sum(len(names) for names in alike.values() if len(names) <= BY_NAME) - (AT_ONCE - left)
        if untold:
            self._log(logging.WARNING, "more observations fail; status and explain show them", names=untold)

    def _report(self, bug: Exception, name: Path) -> None:
        """With its traceback, once per place in the code it comes from."""
        trace = bug.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        file, line = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("", 0)
        place = (type(bug).__name__, file, line)
        if place not in self._bugs:
            self._bugs.add(place)
            fields = {"source": self._source, "name": name.show()}
            logger.error("a bug in a source", exc_info=bug, extra={"fields": fields})

    def _log(self, level: int, message: str, **fields: object) -> None:
        shown = {key: value.show() if isinstance(value, Path) else value for key, value in fields.items()}
        logger.log(level, message, extra={"fields": {"source": self._source, **shown}})
