"""Namerd's `/api/1/dtabs`, as namerctl and scripts know it.

The ETag is base64 of the version, without quotes. A refusal of the store is 403; inside a compare-and-set, and for any
other failure of it, 500. Nobody can say `yes` here, so a preview's limit does not count; errors that lint finds do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from aiohttp import web

from mesh.control.api import namerd_json
from mesh.control.api.conditions import Precondition, Tags, version_number
from mesh.control.api.namerd_json import compact
from mesh.control.api.reading import read_body
from mesh.control.api.route import (
    JSON,
    Answer,
    AnyRoute,
    Asked,
    Error,
    Lenient,
    NoBody,
    Plain,
    Refusal,
    Reply,
    Route,
    Takes,
)
from mesh.control.api.shapes import Conflicted, Unusable
from mesh.control.api.watching import Broken, Watching, is_watched
from mesh.control.api.writing import Done, Order, Wanted, Writing
from mesh.control.grants import Role
from mesh.control.store.protocol import NAMESPACE, Refused, Unavailable, Unreadable
from mesh.control.version import Content, Version
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab

_ALL = "/api/1/dtabs"
_ONE = "/api/1/dtabs/{namespace}"
DTAB = "application/dtab"
TEXT = (DTAB, "text/plain")
TYPES = (JSON, *TEXT)
_NAMESPACE = re.compile(NAMESPACE)


class WatchQuery(Lenient):
    watch: str | None = None
    """`true` or `1`: a line for each change, until the caller goes."""


@dataclass(frozen=True, slots=True)
class NamerdTables:
    writing: Writing
    watching: Watching

    def routes(self) -> list[AnyRoute]:
        write, said = Role.WRITE, Takes(TYPES)
        stored = {204: None, 400: Unusable, 403: Error, 413: Error, 500: Error, 503: Error}
        names = {200: list[str]}
        table = {200: Plain(TYPES, "The table, with its ETag."), 404: Error, 500: Error, 503: Error}
        create, change, delete = "Create.", "Change or create; with If-Match, compare and set.", "Delete."
        return [
            Route("*", _ALL, Role.READ, "All namespaces, by name.", self._all, WatchQuery, NoBody, names),
            Route("*", f"{_ALL}/", Role.READ, "All namespaces, by name.", self._all, WatchQuery, NoBody, names),
            Route("GET", _ONE, Role.READ, "The table.", self._get, WatchQuery, NoBody, table),
            Route("HEAD", _ONE, Role.READ, "The table's ETag.", self._head, WatchQuery, NoBody, {200: None, 404: None}),
            Route("POST", _ONE, write, create, self._post, Lenient, NoBody, {**stored, 409: Error}, said, changes=True),
            Route(
                "PUT",
                _ONE,
                write,
                change,
                self._put,
                Lenient,
                NoBody,
                {**stored, 404: Error, 412: Conflicted},
                said,
                changes=True,
            ),
            Route("DELETE", _ONE, write, delete, self._delete, Lenient, NoBody, {**stored, 404: Error}, changes=True),
        ]

    async def _all(self, asked: Asked[WatchQuery, NoBody]) -> Reply:
        if is_watched(asked.query.watch):
            return await self.watching.stream(asked.request, self._lists())
        return Answer(self._names())

    def _names(self) -> list[str]:
        return sorted(each.namespace for each in self.writing.tables.all().values() if each.content is not None)

    async def _lists(self) -> AsyncGenerator[bytes]:
        changed, sent = asyncio.Event(), None
        unsubscribe = self.writing.tables.subscribe(lambda _version: changed.set())
        try:
            while True:
                changed.clear()
                names = self._names()
                if names != sent:
                    sent = names
                    yield compact(names)
                await changed.wait()
        finally:
            unsubscribe()

    async def _get(self, asked: Asked[WatchQuery, NoBody]) -> Reply:
        kind = _accepted(asked.request)
        if is_watched(asked.query.watch):
            return await self.watching.stream(asked.request, self._changes(asked.namespace, kind), kind)
        version = self._current(asked.namespace)
        try:
            body = _written(version, kind)
        except DtabSyntaxError as error:
            raise Refusal(500, f"what is stored does not read: {error}") from error
        return web.Response(body=body + b"\n", content_type=kind, headers={"ETag": version.etag})

    async def _head(self, asked: Asked[WatchQuery, NoBody]) -> Reply:
        return web.Response(headers={"ETag": self._current(asked.namespace).etag})

    def _current(self, namespace: str) -> Version:
        version = self.writing.tables.get(namespace)
        if version is None or version.content is None:
            raise Refusal(404, f"there is no namespace {namespace[:100]!r}")
        return version

    async def _changes(self, namespace: str, kind: str) -> AsyncGenerator[bytes]:
        """A deletion is not told, and a namespace that is not there yet is waited for."""
        changed, sent = asyncio.Event(), None
        unsubscribe = self.writing.tables.subscribe(
            lambda version: changed.set() if version.namespace == namespace else None
        )
        try:
            while True:
                changed.clear()
                version = self.writing.tables.get(namespace)
                if version is not None and version.content is not None:
                    line = _line(version, kind)
                    if line != sent:
                        sent = line
                        yield line
                await changed.wait()
        finally:
            unsubscribe()

    async def _post(self, asked: Asked[Lenient, NoBody]) -> Reply:
        text = await _table(asked.request)
        condition = Precondition(none_match=Tags(every=True))
        try:
            done = await self._make(asked, _with(text), condition)
        except Refusal as refused:
            if refused.status == 412:
                asked.recording.result = "conflicted"
                raise Refusal(409, f"the namespace {asked.namespace!r} exists") from refused
            raise
        return _done(done)

    async def _put(self, asked: Asked[Lenient, NoBody]) -> Reply:
        text = await _table(asked.request)
        stamp = asked.request.headers.get("If-Match")
        if stamp is None:
            return _done(await self._make(asked, _with(text), Precondition()))
        self._current(asked.namespace)
        number = version_number(stamp.strip().strip('"'))
        numbers = frozenset[int]() if number is None else frozenset((number,))
        try:
            return _done(await self._make(asked, _with(text), Precondition(Tags(every=False, numbers=numbers))))
        except Refused as error:
            raise Refusal(500, str(error)) from error

    async def _delete(self, asked: Asked[Lenient, NoBody]) -> Reply:
        def nothing(current: Version | None) -> None:
            if current is None or current.content is None:
                raise Refusal(404, f"there is no namespace {asked.namespace[:100]!r}")

        return _done(await self._make(asked, nothing, Precondition()))

    async def _make(self, asked: Asked[Lenient, NoBody], wanted: Wanted, condition: Precondition) -> Done:
        if not _NAMESPACE.fullmatch(asked.namespace):
            text = f"a namespace is called by letters, digits, - and _, at most 100, not {asked.namespace[:100]!r}"
            raise Refusal(403, text)
        order = Order(asked.namespace, wanted, asked.caller.name, "through /api/1", condition, guarded=False)
        try:
            return await self.writing.make(order, asked.recording)
        except (Unavailable, Unreadable) as error:
            raise Refusal(500, str(error)) from error


def _with(dtab: str) -> Wanted:
    """Policies, which Namerd has none of, stay."""

    def wanted(current: Version | None) -> Content:
        before = current.content if current is not None else None
        return Content(dtab, before.policies if before is not None else "")

    return wanted


def _done(done: Done) -> web.Response:
    return web.Response(status=204, headers={"ETag": done.version.etag})


def _accepted(request: web.Request) -> str:
    """The first content type of `Accept` that there is."""
    said = (each.partition(";")[0].strip().lower() for each in request.headers.get("Accept", "").split(","))
    return next((each for each in said if each in TYPES), JSON)


def _dtab(version: Version) -> Dtab:
    return parse_dtab(version.content.dtab if version.content is not None else "")


def _written(version: Version, kind: str) -> bytes:
    dtab = _dtab(version)
    return compact(namerd_json.dentries(dtab)) if kind == JSON else dtab.show().encode()


def _line(version: Version, kind: str) -> bytes:
    try:
        return _written(version, kind)
    except DtabSyntaxError as error:
        raise Broken(f"what is stored does not read: {error}") from error


async def _table(request: web.Request) -> str:
    """What is to be stored: text as it was written."""
    kind, body = request.content_type, await read_body(request)
    if "Content-Type" not in request.headers or kind not in TYPES:
        raise Refusal(400, f"Content-Type is to be one of {', '.join(TYPES)}")
    try:
        if kind == JSON:
            return namerd_json.read_dentries(body).show(" ;\n")
        text = body.decode()
        parse_dtab(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the table does not read: {error}") from error
    return text
