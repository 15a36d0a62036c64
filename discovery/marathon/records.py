"""Marathon's apps with their tasks -> records -> `Addr`. Pure.

A record holds what an endpoint needs and no more; what all tasks of an app share stands in the app. The address of a
task may still be a host name. Shapes: `rest-api/public/api/v2/apps.raml` and `types/` of Marathon's source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.address import PROTOCOLS, Addr, Endpoint, Health, Protocol, bound
from discovery.dns.records import is_literal
from discovery.marathon.elements import Broken, elements, value
from discovery.marathon.ports import Definition, NoSuchPort, Rules, Selected, selected, task_port
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable


class Malformed(ValueError):
    """Not what Marathon answers; the text says where."""


@dataclass(frozen=True, slots=True)
class Task:
    """`health`: None when the app has health checks and none of them has reported yet."""

    id: str
    address: str
    port: int
    health: Health | None
    host: str
    zone: str


@dataclass(frozen=True, slots=True)
class App:
    tasks: tuple[Task, ...] = ()
    protocol: Protocol | None = None
    weight: float = 1.0
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """An app of which something can't be understood. The others are none the worse for it."""

    error: type[SourceError]
    reason: str


Entry = App | Unusable


class _IpAddress(TypedDict):
    ipAddress: NotRequired[str | None]


class _Result(TypedDict):
    alive: bool


class _Task(TypedDict):
    id: str
    host: NotRequired[str | None]
    ports: NotRequired[list[int] | None]
    ipAddresses: NotRequired[list[_IpAddress] | None]
    healthCheckResults: NotRequired[list[_Result | None] | None]
    state: NotRequired[str | None]
    startedAt: NotRequired[str | None]
    region: NotRequired[str | None]
    zone: NotRequired[str | None]


class _App(Definition):
    tasks: list[_Task]


_APP = TypeAdapter(_App)
_RULING = {"tieline.port", "tieline.protocol", "tieline.weight"}


def app_path(app_id: str) -> Path:
    """`/a/b` -> Path('/a/b'). Raises Malformed."""
    segments = app_id.strip("/").split("/")
    if not all(segments):
        raise Malformed(f"{app_id!r} is no app id")
    return Path(segments)


def apps(body: bytes, rules: Rules) -> Iterator[tuple[Path, Entry]]:
    """The body of `/v2/apps?embed=apps.tasks`, app by app, so that no more than one of them is held as JSON.

    Raises Malformed, also after some apps: then none of them counts.
    """
    try:
        for index, found in enumerate(elements(_text(body), "apps")):
            yield _entry(found, rules, f"apps.{index}")
    except Broken as error:
        raise Malformed(str(error)) from None


def app(body: bytes, path: Path, rules: Rules) -> Entry:
    """The body of `/v2/apps/<path>?embed=app.tasks`. Raises Malformed."""
    try:
        found = value(_text(body))
    except Broken as error:
        raise Malformed(str(error)) from None
    if not isinstance(found, dict) or "app" not in found:
        raise Malformed("an object with `app` expected")
    answered, entry = _entry(found["app"], rules, "app")
    if answered != path:
        raise Malformed(f"app.id: {answered.show()} instead of {path.show()}")
    return entry


def says_absent(body: bytes) -> bool:
    """Whether a 404 is Marathon's own, which has a message, and not that of somebody in between."""
    try:
        found = value(_text(body))
    except (Broken, Malformed):
        return False
    return isinstance(found, dict) and "message" in found


def remembering(entry: Entry, before: Entry | None) -> Entry:
    """A leader that has just been elected has not checked anything yet: tasks keep the health they had."""
    if not isinstance(entry, App) or not isinstance(before, App) or all(task.health for task in entry.tasks):
        return entry
    known = {task.id: task.health for task in before.tasks if task.health is not Health.DRAINING}
    return replace(entry, tasks=tuple(task if task.health else _as(task, known.get(task.id)) for task in entry.tasks))


def without(entry: Entry, ended: Mapping[str, bool]) -> Entry:
    """Without the tasks that have ended; those whose value is True are draining."""
    if not isinstance(entry, App) or not any(task.id in ended for task in entry.tasks):
        return entry
    rest = (task for task in entry.tasks if ended.get(task.id, True))
    return replace(entry, tasks=tuple(_as(task, Health.DRAINING) if task.id in ended else task for task in rest))


def host_names(entry: Entry) -> set[str]:
    """Those of its addresses that have to be resolved."""
    if not isinstance(entry, App):
        return set()
    return {address for address in {task.address for task in entry.tasks} if not is_literal(address)}


def addr(known: App, addresses: Mapping[str, tuple[str, ...]]) -> Addr:
    """`addresses`: those of host names. An app without tasks that may be called still exists."""
    if known.weight <= 0:
        return bound(())
    return bound(
        Endpoint(
            address=address,
            port=task.port,
            weight=known.weight,
            zone=task.zone,
            # Not called before its first success, as with Linkerd's `useHealthCheck`.
            health=task.health or Health.UNHEALTHY,
            host=task.host,
            protocol=known.protocol,
            metadata=known.metadata,
            origin=task.id,
        )
        for task in known.tasks
        for address in addresses.get(task.address, (task.address,))
    )


def first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _as(task: Task, health: Health | None) -> Task:
    return task if task.health is health else replace(task, health=health)


def _entry(found: object, rules: Rules, where: str) -> tuple[Path, Entry]:
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise Malformed(f"{where}: an app with an id expected")
    path = app_path(found["id"])
    try:
        return path, _app(_APP.validate_python(found, strict=True), rules)
    except ValidationError as error:
        reason = f"Marathon's answer about app {found['id']} makes no sense: {first_error(error)}"
        return path, Unusable(Unavailable, reason)
    except NoSuchPort as error:
        return path, Unusable(Misconfigured, f"app {found['id']}: {error}")


def _app(found: _App, rules: Rules) -> App:
    labels = found.get("labels") or {}
    port = selected(found, labels, rules)
    if port is None:
        return App()
    checked = bool(found.get("healthChecks"))
    tasks = (_task(task, port, checked=checked) for task in found["tasks"])
    said = labels.get("tieline.protocol") or port.protocol or port.name
    return App(
        tasks=tuple(task for task in tasks if task is not None),
        protocol=PROTOCOLS.get(said.lower()),
        weight=_weight(labels.get("tieline.weight", "1")),
        metadata=_metadata(labels, rules),
    )


def _task(task: _Task, port: Selected, *, checked: bool) -> Task | None:
    """None: can't be called yet or any more, or has no address or port (yet)."""
    state = task.get("state") or ("TASK_RUNNING" if task.get("startedAt") else "")
    host = task.get("host") or ""
    number = task_port(port, task.get("ports") or [])
    address = _address(task) if port.own_address else host
    if state not in ("TASK_RUNNING", "TASK_KILLING") or not number or not address:
        return None
    health = Health.DRAINING if state == "TASK_KILLING" else _health(task, checked=checked)
    return Task(task["id"], address, number, health, host, task.get("zone") or task.get("region") or "")


def _address(task: _Task) -> str:
    return next((text for each in task.get("ipAddresses") or () if (text := each.get("ipAddress"))), "")


def _health(task: _Task, *, checked: bool) -> Health | None:
    results = [result["alive"] for result in task.get("healthCheckResults") or () if result is not None]
    if results:
        return Health.HEALTHY if all(results) else Health.UNHEALTHY
    return None if checked else Health.UNKNOWN


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1_000_000:
        raise NoSuchPort(f"its label tieline.weight is {text!r}, which is no weight")
    return weight


def _metadata(labels: Mapping[str, str], rules: Rules) -> tuple[tuple[str, str], ...]:
    ours = {
        name.removeprefix("tieline."): text
        for name, text in labels.items()
        if name.startswith("tieline.") and name not in _RULING
    }
    return tuple(sorted(({name: labels[name] for name in rules.labels if name in labels} | ours).items()))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"no UTF-8 at byte {error.start}") from None
