"""Tasks -> the endpoints of one port. Pure.

| network mode | address | port |
| --- | --- | --- |
| awsvpc (always on Fargate) | the task's own | the container's |
| bridge | the machine's | the one that is bound to the container's |
| host | the machine's | the container's |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from discovery.address import Bound, Endpoint, Health, bound
from discovery.ecs.records import Definition, Mode, Port, Task, last
from discovery.source import Misconfigured, Unavailable


@dataclass(frozen=True, slots=True)
class Machine:
    """`id`: of EC2. `address`: '' when there is none; `why` says why not, and is '' when the machine is no more."""

    id: str
    address: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What tasks refer to, by ARN."""

    definitions: Mapping[str, Definition]
    machines: Mapping[str, Machine]


class NoSuchPort(Misconfigured):
    """The name has to say which port, or another one."""


def needs_machine(task: Task, definition: Definition) -> bool:
    return bool(task.instance) and definition.mode is not Mode.AWSVPC


def addr(tasks: Iterable[Task], wanted: str, default: str, details: Details) -> Bound:
    """`wanted`: the third segment of the name or ''; `default`: the port to take when a task has several.

    While a service is updated its tasks differ. Those without such a port are left out, unless all are.
    """
    found: list[Endpoint] = []
    missing: NoSuchPort | None = None
    for task in sorted(tasks, key=lambda task: task.id):
        definition = details.definitions[task.definition]
        try:
            found += _endpoint(task, definition, port(definition, wanted, default), details.machines)
        except NoSuchPort as error:
            missing = error
    if missing is not None and not found:
        raise missing
    return bound(found)


def port(definition: Definition, wanted: str, default: str) -> Port:
    """Raises NoSuchPort."""
    if wanted:
        return _called(definition, wanted)
    if len(definition.ports) == 1:
        return definition.ports[0]
    if chosen := definition.label or default:
        return _called(definition, chosen)
    if not definition.ports:
        raise NoSuchPort(f"{definition.revision} maps no port: say which, /<cluster>/<service>/<port>")
    raise NoSuchPort(
        f"{definition.revision} has several ports, say which, /<cluster>/<service>/<port>: {_all(definition)}"
    )


def _called(definition: Definition, text: str) -> Port:
    if text.isascii() and text.isdecimal():
        return _numbered(definition, int(text))
    named = [each for each in definition.ports if each.name == text]
    named = named or [each for each in definition.ports if each.container == text]
    if len(named) != 1:
        what = "several ports" if named else "no port"
        raise NoSuchPort(f"{definition.revision} has {what} called {text!r}; there are: {_all(definition)}")
    return named[0]


def _numbered(definition: Definition, number: int) -> Port:
    if not 0 < number < 65536:
        raise NoSuchPort(f"{number} is no port; {definition.revision} has: {_all(definition)}")
    # What is not mapped can be reached all the same, unless there is a bridge, or it is mapped in a range.
    return next((each for each in definition.ports if each.number == number), Port("", number))


def _all(definition: Definition) -> str:
    return ", ".join(f"{each.number} ({each.name or each.container})" for each in definition.ports) or "none"


def _endpoint(task: Task, definition: Definition, port: Port, machines: Mapping[str, Machine]) -> Iterable[Endpoint]:
    if any(each.name == port.container and not each.running for each in task.containers):
        return
    machine = machines[task.instance] if needs_machine(task, definition) else None
    address, number = task.address, port.number
    if machine is not None:
        address = machine.address
        if not address and not machine.why:
            return
        if definition.mode is Mode.BRIDGE:
            number = _bound(task, definition, port)
    if not address:
        raise _unreachable(task, definition, machine)
    yield Endpoint(
        address=address,
        port=number,
        zone=task.zone,
        health=_health(task),
        host=machine.id if machine else last(task.instance) or task.id,
        protocol=port.protocol,
        metadata=(("launch_type", task.launch_type), ("task_definition", definition.revision)),
        origin=task.id,
    )


def _bound(task: Task, definition: Definition, port: Port) -> int:
    containers = [each for each in task.containers if port.container in ("", each.name)]
    for binding in (binding for each in containers for binding in each.bindings):
        offset = port.number - binding.container_port
        if 0 <= offset < binding.count:
            return binding.host_port + offset
    if port.container:
        raise Unavailable(f"ECS says that task {task.id} runs, but not where its port {port.number} is bound")
    raise NoSuchPort(f"{definition.revision} maps no port {port.number}; there are: {_all(definition)}")


def _unreachable(task: Task, definition: Definition, machine: Machine | None) -> Exception:
    if machine is not None:
        return Misconfigured(f"task {task.id} can't be reached: {machine.why}")
    if definition.mode is Mode.AWSVPC:
        return Unavailable(f"ECS says that task {task.id} runs, but not at which address")
    return Misconfigured(f"task {task.id} can't be reached: network mode {definition.mode.value} without a machine")


def _health(task: Task) -> Health:
    if task.draining:
        return Health.DRAINING
    if task.health is Health.HEALTHY and not task.connected:
        # Its ECS agent is cut off: what was well then may not be now.
        return Health.UNKNOWN
    return task.health or Health.UNKNOWN
