"""The tasks of one cluster as of the last read and the events since. Pure.

Reads and events overtake each other: of two statements about a task the one with the higher `version` counts, and a
task that an event has stopped during a read is not brought back by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from discovery.address import Health
from discovery.ecs.records import Task


@dataclass(slots=True)
class Tasks:
    """Those whose containers run; `known` by id."""

    known: dict[str, Task] = field(default_factory=dict)
    _services: dict[str, dict[str, Task]] = field(default_factory=dict)
    _stopped: dict[str, int] = field(default_factory=dict)
    _heard: set[str] = field(default_factory=set)

    def of(self, service: str) -> Mapping[str, Task]:
        return self._services.get(service, {})

    def begin(self) -> None:
        """A read begins."""
        self._stopped.clear()
        self._heard.clear()

    def hear(self, task: Task) -> bool:
        """An event. True: it was news."""
        known = self.known.get(task.id)
        newest = max(known.version if known else 0, self._stopped.get(task.id, 0))
        if task.version and task.version < newest:
            return False
        self._heard.add(task.id)
        if not task.running:
            self._stopped[task.id] = task.version
            return self._drop(task.id)
        if task.health is None:
            task = replace(task, health=(known and known.health) or Health.UNKNOWN)
        return self._put(task)

    def read(self, asked: Collection[str], found: Iterable[Task]) -> set[str]:
        """A read that is complete. Answers with the services of which something has changed."""
        changed: set[str] = set()
        silent = set(asked) - self._heard
        for task in found:
            silent.discard(task.id)
            known = self.known.get(task.id)
            if self._stopped.get(task.id, -1) >= task.version or (known is not None and known.version > task.version):
                continue
            if self._put(task) if task.running else self._drop(task.id):
                changed.add(task.service)
        for id in silent & self.known.keys():
            changed.add(self.known[id].service)
            self._drop(id)
        return changed

    def clear(self) -> set[str]:
        changed = set(self._services)
        self.known.clear()
        self._services.clear()
        return changed

    def _put(self, task: Task) -> bool:
        if self.known.get(task.id) == task:
            return False
        self.known[task.id] = task
        self._services.setdefault(task.service, {})[task.id] = task
        return True

    def _drop(self, id: str) -> bool:
        task = self.known.pop(id, None)
        if task is None:
            return False
        of_service = self._services[task.service]
        del of_service[id]
        if not of_service:
            del self._services[task.service]
        return True
