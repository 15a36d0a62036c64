"""What is known of all apps, and how the answers that overtake each other are put in order. Pure.

There are two kinds of answers, the list of all apps and one app. An event that a task has ended is believed at once;
answers that were asked for before it must not bring the task back. Of one app, what was answered while the list was on
its way is newer than what the list says.
"""

from __future__ import annotations

from collections.abc import Mapping

from discovery.marathon.records import Entry, remembering, without
from discovery.path import Path


class Fleet:
    def __init__(self, before: Mapping[Path, Entry]) -> None:
        """`before`: what an earlier run knew. Nothing of it is told, but a task keeps the health it had."""
        self.apps: dict[Path, Entry] = {}
        self._before = before
        self._answered: set[Path] = set()
        """Since the list was asked for last."""
        self._ended: dict[Path, dict[str, bool]] = {}
        """The same, of tasks; True: it is draining."""
        self._ended_meanwhile: dict[Path, dict[str, bool]] = {}
        """Since each app was asked for last."""

    def successor(self) -> Fleet:
        return Fleet(self.apps or self._before)

    def asks_all(self) -> None:
        self._answered.clear()
        self._ended.clear()

    def answered_all(self, apps: dict[Path, Entry]) -> None:
        """`apps` belongs to the fleet from now on."""
        known = self.apps or self._before
        for path, entry in apps.items():
            ended = self._ended.get(path)
            judged = without(entry, ended) if ended else entry
            apps[path] = remembering(judged, known.get(path))
        for path in self._answered:
            if path in self.apps:
                apps[path] = self.apps[path]
            else:
                apps.pop(path, None)
        self.apps, self._before = apps, {}

    def asks(self, path: Path) -> None:
        self._ended_meanwhile.pop(path, None)

    def answered(self, path: Path, entry: Entry | None) -> None:
        """None: there is no such app."""
        self._answered.add(path)
        if entry is None:
            self.apps.pop(path, None)
            return
        ended = self._ended_meanwhile.get(path)
        judged = without(entry, ended) if ended else entry
        self.apps[path] = remembering(judged, self.apps.get(path, self._before.get(path)))

    def ended(self, path: Path, task: str, *, draining: bool) -> bool:
        """Whether that changed anything."""
        for memory in (self._ended, self._ended_meanwhile):
            memory.setdefault(path, {})[task] = draining
        entry = self.apps.get(path)
        if entry is None:
            return False
        self.apps[path] = without(entry, {task: draining})
        return self.apps[path] is not entry
