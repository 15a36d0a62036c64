"""What is known besides the tasks of a service: their definitions and machines, and whether an empty one exists."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from discovery.aws.failures import Refused
from discovery.ecs.endpoints import Details, Machine, needs_machine
from discovery.ecs.reading import Asking, is_no_cluster
from discovery.ecs.records import Definition, Task
from discovery.ecs.tasks import Tasks
from discovery.source import Misconfigured


@dataclass(slots=True)
class Lookup:
    """`definitions` are immutable and shared by all clusters; the rest is found out again as it gets old."""

    cluster: str
    asking: Asking
    tasks: Tasks
    definitions: dict[str, Definition]
    _machines: dict[str, Machine] = field(default_factory=dict)
    _existing: dict[str, bool] = field(default_factory=dict)
    _refused: dict[str, Misconfigured] = field(default_factory=dict)

    @property
    def details(self) -> Details:
        return Details(self.definitions, self._machines)

    def exists(self, service: str) -> bool:
        """Of one without tasks."""
        return self._existing[service]

    def forget(self, *, everything: bool = False) -> None:
        """What may be otherwise by now."""
        in_use = set() if everything else {task.instance for task in self.tasks.known.values()}
        self._machines = {arn: machine for arn, machine in self._machines.items() if arn in in_use and not machine.why}
        self._existing.clear()
        self._refused.clear()

    def is_complete(self, services: Iterable[str]) -> bool:
        return not any(self._empty(each) or self._definitions(each) or self._instances(each) for each in services)

    async def complete(self, services: Collection[str]) -> None:
        """Until nothing is missing. What is refused of one service is kept for those who ask for that service."""
        while not self.is_complete(services):
            await self._ask_existing([each for each in services if self._empty(each)])
            for arn in sorted({arn for each in services for arn in self._definitions(each)}):
                try:
                    self.definitions[arn] = await self.asking.definition(arn)
                except Misconfigured as error:
                    self._refused[arn] = error
            await self._ask_machines({arn for each in services for arn in self._instances(each)})

    def refusal(self, tasks: Iterable[Task]) -> Misconfigured | None:
        if not self._refused:
            return None
        refused = (self._refused.get(task.definition) or self._refused.get(task.instance) for task in tasks)
        return next(filter(None, refused), None)

    async def _ask_existing(self, services: Collection[str]) -> None:
        try:
            existing = await self.asking.existing(self.cluster, services)
        except Refused as error:
            if not is_no_cluster(error):
                raise
            existing = set()
        self._existing |= {each: each in existing for each in services}

    async def _ask_machines(self, arns: Collection[str]) -> None:
        try:
            self._machines |= await self.asking.machines(self.cluster, arns)
        except Misconfigured as error:
            self._refused |= dict.fromkeys(arns, error)

    def _empty(self, service: str) -> bool:
        return service not in self._existing and not self.tasks.of(service)

    def _definitions(self, service: str) -> set[str]:
        named = {task.definition for task in self.tasks.of(service).values()}
        return named - self.definitions.keys() - self._refused.keys()

    def _instances(self, service: str) -> set[str]:
        named = {
            task.instance
            for task in self.tasks.of(service).values()
            if task.definition in self.definitions and needs_machine(task, self.definitions[task.definition])
        }
        return named - self._machines.keys() - self._refused.keys()
