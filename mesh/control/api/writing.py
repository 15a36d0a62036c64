"""How a change is made, whoever's API it came through: condition, lint, preview, record, store.

What a preview says is what happens: a change is made only on top of the version that it was previewed against. If
another was faster, all of it is done again; unless the caller has set a condition, which then is not met any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mesh.control.api.conditions import ANY, Precondition
from mesh.control.api.recording import Recording
from mesh.control.api.route import Refusal
from mesh.control.api.shapes import Json, stored
from mesh.control.audit import Unwritable
from mesh.control.store.protocol import Conflict, Expected, Refused, StoreError, Unavailable
from mesh.control.version import Change, Content, Version

ROUNDS = 10
"""How often others may be faster before a change is given up."""

Wanted = Callable[[Version | None], Content | None]
"""What is to be in force, from what is; None: nothing, the namespace is deleted. May raise Refusal."""


class Tables(Protocol):
    def get(self, namespace: str) -> Version | None: ...
    def all(self) -> Mapping[str, Version]: ...
    def subscribe(self, changed: Callable[[Version], None]) -> Callable[[], None]: ...
    async def put(self, namespace: str, change: Change, expected: Expected) -> Version: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """As JSON. `problems`: errors among them have the level `error`. `preview` None: the content does not read."""

    problems: Sequence[Json]
    preview: Json | None


class Foresees(Protocol):
    async def lint(self, namespace: str, content: Content) -> Sequence[Json]:
        """What is wrong with it, whatever is in use."""
        ...

    async def judge(self, namespace: str, before: Content, after: Content, limit: float) -> Judgement:
        """What is wrong with it, and what it would do to the names in use."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """`version`: what is in force now. `preview`: None where nothing had to change, or none was asked for."""

    version: Version
    preview: Json | None


@dataclass(frozen=True, slots=True)
class Order:
    """`guarded`: refused if more than the limit moves and the caller did not say `yes`."""

    namespace: str
    wanted: Wanted
    who: str
    why: str = ""
    condition: Precondition = ANY
    yes: bool = False
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class Writing:
    tables: Tables
    foresight: Foresees
    limit: float

    async def make(self, order: Order, recording: Recording) -> Done:
        """Raises Refusal, and what the store raises."""
        recording.why(order.why)
        current = self.tables.get(order.namespace)
        for _ in range(ROUNDS):
            if not order.condition.holds(current):
                raise conflicted("the condition does not hold: another version is in force", current)
            content = order.wanted(current)
            if current is not None and content == current.content:
                recording.result, recording.version = "unchanged", current.number
                return Done(current, None)
            preview = await self._checked(order, current, content)
            await self._begin(recording)
            try:
                change = Change(content, order.who, order.why)
                version = await self.tables.put(order.namespace, change, _expected(current))
            except Conflict as conflict:
                current = conflict.current
                continue
            recording.result, recording.version = "made", version.number
            return Done(version, preview)
        raise conflicted("others change this namespace again and again. Try again", current)

    async def _checked(self, order: Order, current: Version | None, content: Content | None) -> Json | None:
        """The preview, where one is asked for."""
        if not order.guarded:
            if content is not None:
                refuse_errors(await self.foresight.lint(order.namespace, content))
            return None
        preview = await self.preview(order.namespace, current, content or Content(""))
        if preview["refused"] and not order.yes:
            raise Refusal(409, _too_much(preview, self.limit), preview=preview)
        return preview

    async def preview(self, namespace: str, current: Version | None, content: Content) -> Json:
        """Raises Refusal for a table or policies with an error."""
        before = current.content if current is not None else None
        judged = await self.foresight.judge(namespace, before or Content(""), content, self.limit)
        refuse_errors(judged.problems)
        assert judged.preview is not None
        return judged.preview

    async def _begin(self, recording: Recording) -> None:
        try:
            await recording.begin()
        except Unwritable as error:
            raise Refusal(503, f"nothing was changed: {error}") from error


def _too_much(preview: Json, limit: float) -> str:
    moved, unknown, silent = preview["moved_share"], preview["unknown_share"], preview["silent"]
    if silent:
        url, reason = next(iter(silent.items()))
        text = f"what agents of the replica {url} use is not known ({reason}), so more may move than is seen"
        return f"{text}: {_percent(moved + unknown)} of the {preview['by']}. Say yes if that is meant"
    text = f"this would move {_percent(moved)} of the {preview['by']}"
    if unknown:
        text += f" and perhaps {_percent(unknown)} more"
    return f"{text}, and the limit is {_percent(limit)}. Say yes if that is meant"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def refuse_errors(problems: Sequence[Json]) -> None:
    """Raises Refusal for the first error; it holds all problems."""
    first = next((each for each in problems if each["level"] == "error"), None)
    if first is not None:
        raise Refusal(400, f"{first['where']}: {_place(first)}{first['message']}", problems=list(problems))


def _place(problem: Mapping[str, Any]) -> str:
    return f"line {problem['line']}, column {problem['column']}: " if problem["line"] else ""


def _expected(current: Version | None) -> Expected:
    return "absent" if current is None or current.content is None else current.number


def conflicted(text: str, current: Version | None) -> Refusal:
    return Refusal(412, text, current=None if current is None else stored(current))


def refusal(error: StoreError) -> Refusal:
    """What our own API answers when the store does not do it."""
    match error:
        case Unavailable():
            return Refusal(503, str(error))
        case Refused():
            return Refusal(403, str(error))
        case _:
            return Refusal(500, str(error))
