"""`/v1/namespaces`: tables and policies, their history, and what a change to them would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mesh.control.api.conditions import Precondition, Unreadable, precondition
from mesh.control.api.route import Answer, AnyRoute, Asked, Error, NoBody, NoQuery, Refusal, Route, read
from mesh.control.api.shapes import (
    Changed,
    Conflicted,
    DeleteQuery,
    History,
    HistoryQuery,
    Json,
    Moves,
    Namespaces,
    Problems,
    Put,
    Rollback,
    Stored,
    Unusable,
    VersionQuery,
    Written,
    changed,
    stored,
    summary,
)
from mesh.control.api.writing import Order, Wanted, Writing
from mesh.control.grants import Role
from mesh.control.store.protocol import MOST_BYTES, Store
from mesh.control.version import Content, Version

_ONE = "/v1/namespaces/{namespace}"
_CHANGES = {200: Changed, 400: Unusable, 409: Moves, 412: Conflicted, 413: Error, 503: Error}
MOST_ANSWERED = 4 * MOST_BYTES
"""Characters of content in one answer."""


@dataclass(frozen=True, slots=True)
class NamespaceRoutes:
    """`store`: for what is not in force any more."""

    writing: Writing
    store: Store

    def routes(self) -> list[AnyRoute]:
        write, absent = Role.WRITE, {**_CHANGES, 404: Error}
        put, delete, rollback = (
            "Change it, or create it.",
            "Delete it; its versions stay.",
            "Take back an earlier content.",
        )
        preview, lint = "What a change would do to the names in use.", "What is wrong with a table and policies."
        asks = {200: Json, 400: Unusable, 413: Error}
        return [
            read("/v1/namespaces", "Every namespace, without its content.", self._all, Namespaces, NoQuery),
            read(_ONE, "What is in force, or an earlier version.", self._get, Stored, VersionQuery, 304, 404, 503),
            Route("PUT", _ONE, write, put, self._put, NoQuery, Put, _CHANGES, changes=True),
            Route("DELETE", _ONE, write, delete, self._delete, DeleteQuery, NoBody, absent, changes=True),
            read(f"{_ONE}/history", "Its versions, newest first.", self._history, History, HistoryQuery, 503),
            Route("POST", f"{_ONE}/rollback", write, rollback, self._rollback, NoQuery, Rollback, absent, changes=True),
            Route("POST", f"{_ONE}/preview", Role.READ, preview, self._preview, NoQuery, Written, asks),
            Route("POST", f"{_ONE}/lint", Role.READ, lint, self._lint, NoQuery, Written, {**asks, 200: Problems}),
        ]

    async def _all(self, _asked: Asked[NoQuery, NoBody]) -> Answer:
        versions = sorted(self.writing.tables.all().values(), key=lambda each: each.namespace)
        return Answer(Namespaces([summary(each) for each in versions]))

    async def _get(self, asked: Asked[VersionQuery, NoBody]) -> Answer:
        number = asked.query.version
        if number is not None:
            return _version(await self._earlier(asked.namespace, number))
        current = self.writing.tables.get(asked.namespace)
        if current is None or current.content is None:
            raise Refusal(404, _gone(asked.namespace, current))
        if _condition(asked).none_match is not None and not _condition(asked).holds(current):
            return Answer(None, 304, {"ETag": _quoted(current)})
        return _version(current)

    async def _put(self, asked: Asked[NoQuery, Put]) -> Answer:
        body = asked.body
        if body.dtab is None and body.policies is None:
            raise Refusal(400, "nothing to change: send `dtab`, `policies` or both")
        return await self._make(asked, lambda current: _merged(current, body), body.why, yes=body.yes)

    async def _delete(self, asked: Asked[DeleteQuery, NoBody]) -> Answer:
        def nothing(current: Version | None) -> None:
            if current is None or current.content is None:
                raise Refusal(404, _gone(asked.namespace, current))

        return await self._make(asked, nothing, asked.query.why, yes=asked.query.yes)

    async def _rollback(self, asked: Asked[NoQuery, Rollback]) -> Answer:
        content = (await self._earlier(asked.namespace, asked.body.to)).content
        why = asked.body.why or f"back to version {asked.body.to}"
        return await self._make(asked, lambda _current: content, why, yes=asked.body.yes)

    async def _history(self, asked: Asked[HistoryQuery, NoBody]) -> Answer:
        limit, versions, size = asked.query.limit, list[Stored](), 0
        found = await self.store.history(asked.namespace, limit + 1, asked.query.before)
        for each in map(stored, found[:limit]):
            size += len(each.dtab or "") + len(each.policies or "")
            if versions and size > MOST_ANSWERED:
                break
            versions.append(each)
        return Answer(History(versions, more=len(versions) < len(found)))

    async def _preview(self, asked: Asked[NoQuery, Written]) -> Answer:
        current = self.writing.tables.get(asked.namespace)
        return Answer(await self.writing.preview(asked.namespace, current, _merged(current, asked.body)))

    async def _lint(self, asked: Asked[NoQuery, Written]) -> Answer:
        current = self.writing.tables.get(asked.namespace)
        after = _merged(current, asked.body)
        judged = await self.writing.foresight.judge(asked.namespace, _content(current), after, self.writing.limit)
        return Answer({"problems": list(judged.problems)})

    async def _make(self, asked: Asked[Any, Any], wanted: Wanted, why: str, *, yes: bool) -> Answer:
        order = Order(asked.namespace, wanted, asked.caller.name, why, _condition(asked), yes)
        done = await self.writing.make(order, asked.recording)
        return Answer(changed(done.version, done.preview), headers={"ETag": _quoted(done.version)})

    async def _earlier(self, namespace: str, number: int) -> Version:
        found = await self.store.version(namespace, number)
        if found is None:
            raise Refusal(404, f"the namespace {namespace!r} has no version {number}")
        return found


def _condition(asked: Asked[Any, Any]) -> Precondition:
    headers = asked.request.headers
    try:
        return precondition(headers.get("If-Match"), headers.get("If-None-Match"))
    except Unreadable as error:
        raise Refusal(400, str(error)) from error


def _content(current: Version | None) -> Content:
    return current.content or Content("") if current is not None else Content("")


def _merged(current: Version | None, written: Written) -> Content:
    """What is left away stays as it is."""
    before = _content(current)
    dtab = before.dtab if written.dtab is None else written.dtab
    policies = before.policies if written.policies is None else written.policies
    if len(dtab.encode()) + len(policies.encode()) > MOST_BYTES:
        raise Refusal(413, f"table and policies together may have {MOST_BYTES} bytes")
    return Content(dtab, policies)


def _gone(namespace: str, current: Version | None) -> str:
    if current is None:
        return f"there is no namespace {namespace!r}. PUT creates it"
    said = f" ({current.why})" if current.why else ""
    return f"{current.who} has deleted the namespace {namespace!r}, as version {current.number}{said}"


def _version(version: Version) -> Answer:
    return Answer(stored(version), headers={"ETag": _quoted(version)})


def _quoted(version: Version) -> str:
    return f'"{version.etag}"'
