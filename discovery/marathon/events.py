"""What an event means for what we know. Pure.

Events say that something changed, seldom what: then the app is asked for. A task that ends is believed at once.
Shapes: Marathon's `docs/docs/event-bus.md`. Ids of instances differ from those of tasks, so only `taskId` is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.marathon.records import Malformed, app_path, first_error
from discovery.marathon.sse import Event
from discovery.path import Path

ATTACHED = "event_stream_attached"
"""The first event of every stream: from now on nothing is missed."""
WANTED = (
    ATTACHED,
    "status_update_event",
    "health_status_changed_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "unhealthy_task_kill_event",
    "unhealthy_instance_kill_event",
    "add_health_check_event",
    "remove_health_check_event",
    "api_post_event",
    "app_terminated_event",
    "group_change_success",
    "group_change_failed",
    "deployment_success",
    "deployment_failed",
)
_ENDED = frozenset(
    f"TASK_{state}"
    for state in ("FINISHED", "FAILED", "KILLED", "LOST", "ERROR", "DROPPED", "GONE", "GONE_BY_OPERATOR", "UNREACHABLE")
)
_NOT_YET = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_CREATED"})


@dataclass(frozen=True, slots=True)
class Changed:
    """These apps have to be asked for."""

    apps: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Posted:
    """Somebody has changed this app by the API, which changes a group, too."""

    app: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended or, if `draining`, is about to: no more requests, whatever the app's next answer is."""

    app: Path
    task: str
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Starting:
    """A task that can't be called yet: of interest only if its app is not known."""

    app: Path


@dataclass(frozen=True, slots=True)
class Regrouped:
    """A group has changed, it is not said how."""


@dataclass(frozen=True, slots=True)
class Anything:
    """An event that does not say what it is about."""


Meaning = Changed | Posted | Ended | Starting | Regrouped | Anything | None


class _Definition(TypedDict):
    id: NotRequired[str | None]


class _Action(TypedDict):
    app: NotRequired[str | None]


class _Step(TypedDict):
    actions: NotRequired[list[_Action] | None]
    app: NotRequired[str | None]


class _Plan(TypedDict):
    steps: NotRequired[list[_Step] | None]


class _Body(TypedDict):
    appId: NotRequired[str | None]
    runSpecId: NotRequired[str | None]
    taskId: NotRequired[str | None]
    taskStatus: NotRequired[str | None]
    appDefinition: NotRequired[_Definition | None]
    plan: NotRequired[_Plan | None]


_BODY = TypeAdapter(_Body)


def meaning(event: Event) -> Meaning:
    """None: nothing that concerns us. Raises Malformed."""
    if event.type not in WANTED or event.type == ATTACHED:
        return None
    body = _parsed(event)
    if event.type.startswith("group_change"):
        return Regrouped()
    if event.type.startswith("deployment"):
        return _deployed(body.get("plan"))
    named = body.get("appId") or body.get("runSpecId") or (body.get("appDefinition") or {}).get("id")
    if not named:
        return Anything()
    if event.type == "status_update_event":
        return _status(app_path(named), body)
    return Posted(app_path(named)) if event.type == "api_post_event" else Changed((app_path(named),))


def _status(app: Path, body: _Body) -> Meaning:
    task, status = body.get("taskId"), body.get("taskStatus")
    if status in _NOT_YET:
        return Starting(app)
    if task and (status in _ENDED or status == "TASK_KILLING"):
        return Ended(app, task, draining=status == "TASK_KILLING")
    return Changed((app,))


def _deployed(plan: _Plan | None) -> Meaning:
    """Since Marathon 0.15 its steps name the apps, in one of two forms."""
    steps = (plan or {}).get("steps")
    if steps is None:
        return Anything()
    actions = [action for step in steps for action in step.get("actions") or [step]]
    named = dict.fromkeys(app_path(app) for action in actions if (app := action.get("app")))
    return Changed(tuple(named)) if named else None


def _parsed(event: Event) -> _Body:
    try:
        return _BODY.validate_json(event.data, strict=True)
    except ValidationError as error:
        raise Malformed(f"{event.type}: {first_error(error)}") from None
