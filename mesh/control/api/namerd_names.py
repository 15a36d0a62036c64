"""Namerd's `/api/1/bind`, `/addr`, `/resolve`, `/delegate` and `/bound-names`: where names lead.

A stream tells of an error as text, and ends. `/delegate` tries every alternative, and gives up after two seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from discovery.observatory import Observatory
from discovery.path import Path
from discovery.source import SourceError
from mesh.control.api import namerd_json
from mesh.control.api.binding import Asks, Binder
from mesh.control.api.namerd_json import Json, compact
from mesh.control.api.reading import parsed, read_body
from mesh.control.api.route import JSON, Answer, AnyRoute, Asked, Error, Lenient, NoBody, Refusal, Reply, Route, Takes
from mesh.control.api.watching import Broken, Watching, is_watched
from mesh.control.grants import Role
from mesh.naming import bind
from mesh.naming.bind import Binding
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab, parse_path
from mesh.naming.explain import explain

DELEGATE_SECONDS = 2.0
LISTING_SECONDS = 5.0
RELIST_SECONDS = 30.0
"""No source says when the list of its names changes, so a stream of them looks again."""
_TRANSFORMED = "%"


class PathQuery(Lenient):
    path: str | None = None
    """The name, such as /svc/users."""
    dtab: str | None = None
    """Entries put on top of the table."""
    watch: str | None = None
    """`true` or `1`: a line for each change, until the caller goes."""
    namespace: str | None = None
    """For `/delegate` without a namespace in its path."""


class Delegation(Lenient):
    path: str
    dtab: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class NamerdNames:
    """`rng` draws a union's branch for `/resolve`."""

    binder: Binder
    watching: Watching
    observatory: Observatory
    roots: tuple[Path, ...]
    rng: random.Random

    def routes(self) -> list[AnyRoute]:
        answers: dict[int, Any] = {200: Json, 400: Error, 500: Error, 503: Error}
        posted = Takes((JSON,))

        def get(path: str, summary: str, answer: Callable[[Asked[PathQuery, NoBody]], Any]) -> AnyRoute:
            return Route("GET", f"/api/1/{path}", Role.READ, summary, answer, PathQuery, NoBody, answers)

        return [
            get("bind/{namespace}", "The bound tree of a name.", self._bind),
            get("addr/{namespace}", "The addresses of a bound id.", self._addr),
            get("resolve/{namespace}", "The addresses of a name.", self._resolve),
            get("delegate/{namespace}", "Every step of binding a name.", self._delegate),
            get("delegate", "As with a namespace; without, by `dtab` alone.", self._delegate),
            Route(
                "POST",
                "/api/1/delegate",
                Role.READ,
                "As GET.",
                self._posted,
                Lenient,
                NoBody,
                {**answers, 415: Error},
                posted,
            ),
            Route(
                "GET",
                "/api/1/bound-names",
                Role.READ,
                "The names that sources can list.",
                self._bound_names,
                PathQuery,
                NoBody,
                {200: list[str], 503: Error},
            ),
        ]

    async def _bind(self, asked: Asked[PathQuery, NoBody]) -> Reply:
        def rendered(binding: Binding) -> Json:
            return namerd_json.bound_tree(binding.tree, self.binder.state)

        return await self._told(asked, _asks(asked), rendered)

    async def _addr(self, asked: Asked[PathQuery, NoBody]) -> Reply:
        asks = _asks(asked)
        path = _untransformed(asks.path)

        def rendered(binding: Binding) -> Json:
            return namerd_json.addr_of(binding.tree, path, self.binder.state)

        return await self._told(asked, Asks(path, asks.namespace, Dtab()), rendered, tells_broken=True)

    async def _resolve(self, asked: Asked[PathQuery, NoBody]) -> Reply:
        last: object = None
        drawn: Path | None = None

        def rendered(binding: Binding) -> Json:
            nonlocal last, drawn
            if binding.tree != last:  # The choice stays for as long as the tree does.
                last, drawn = binding.tree, namerd_json.drawn(binding.tree, self.rng)
            return {"type": "neg"} if drawn is None else namerd_json.addr(self.binder.state(drawn))

        return await self._told(asked, _asks(asked), rendered)

    async def _told(
        self,
        asked: Asked[PathQuery, NoBody],
        asks: Asks,
        rendered: Callable[[Binding], Json],
        *,
        tells_broken: bool = False,
    ) -> Reply:
        if is_watched(asked.query.watch):

            def line(binding: Binding) -> bytes | None:
                if isinstance(binding.tree, bind.Waiting):
                    return None
                if isinstance(binding.tree, bind.Broken) and not tells_broken:
                    raise Broken(binding.tree.reason)
                return compact(rendered(binding))

            return await self.watching.stream(asked.request, self.binder.changes(asks, line))
        binding = await self._bound(asks)
        if isinstance(binding.tree, bind.Waiting):
            raise Refusal(503, f"no answer in time: {binding.tree.reason}")
        if isinstance(binding.tree, bind.Broken) and not tells_broken:
            raise Refusal(500, binding.tree.reason)
        return Answer(rendered(binding))

    async def _bound(self, asks: Asks, seconds: float | None = None) -> Binding:
        try:
            return await self.binder.once(asks, seconds)
        except DtabSyntaxError as error:
            raise Refusal(500, f"what is stored does not read: {error}") from error

    async def _delegate(self, asked: Asked[PathQuery, NoBody]) -> Reply:
        query = asked.query
        namespace = asked.request.match_info.get("namespace", query.namespace)
        return await self._delegated(query.path, query.dtab, namespace)

    async def _posted(self, asked: Asked[Lenient, NoBody]) -> Reply:
        if asked.request.content_type != JSON:
            raise Refusal(415, f"Content-Type is to be {JSON}")
        body = parsed(Delegation, await read_body(asked.request))
        assert isinstance(body, Delegation)
        return await self._delegated(body.path, body.dtab, body.namespace)

    async def _delegated(self, path: str | None, dtab: str | None, namespace: str | None) -> Reply:
        asks = Asks(_path(path), namespace, _dtab(dtab), exhaustive=True)
        binding = await self._bound(asks, DELEGATE_SECONDS)
        if not self.binder.is_answered(binding):
            raise Refusal(503, f"a source has not answered within {DELEGATE_SECONDS:g} s")
        tree = explain(binding, self.binder.state)
        return Answer(namerd_json.with_addresses(tree, self.binder.state))

    async def _bound_names(self, asked: Asked[PathQuery, NoBody]) -> Reply:
        if is_watched(asked.query.watch):
            return await self.watching.stream(asked.request, self._lists())
        try:
            return Answer(await self._names())
        except Broken as broken:
            raise Refusal(503, str(broken)) from broken

    async def _lists(self) -> AsyncGenerator[bytes]:
        sent = None
        while True:
            names = await self._names()
            if names != sent:
                sent = names
                yield compact(names)
            await asyncio.sleep(RELIST_SECONDS)

    async def _names(self) -> list[str]:
        """Raises Broken: what one source knows is not all there is."""
        async with asyncio.TaskGroup() as tasks:
            listed = [tasks.create_task(self._listed(root)) for root in self.roots]
        lists = [each.result() for each in listed]
        if (failed := next((each for each in lists if isinstance(each, str)), None)) is not None:
            raise Broken(failed)
        return sorted(name for each in lists for name in each)

    async def _listed(self, root: Path) -> list[str] | str:
        """Text: why they can't be listed."""
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                names = await self.observatory.names(root)
        except TimeoutError:
            return f"{root.show()} has not listed its names within {LISTING_SECONDS:g} s"
        except SourceError as error:
            return f"{root.show()} can't list its names: {error}"
        return [root.then(name).show() for name in names or ()]


def _asks(asked: Asked[PathQuery, NoBody]) -> Asks:
    return Asks(_path(asked.query.path), asked.namespace, _dtab(asked.query.dtab))


def _path(text: str | None) -> Path:
    if text is None:
        raise Refusal(400, "a path is needed: ?path=/svc/users")
    try:
        return parse_path(text)
    except DtabSyntaxError as error:
        raise Refusal(400, f"Invalid path: {error}") from error


def _dtab(text: str | None) -> Dtab:
    try:
        return parse_dtab(text or "", "the request")
    except DtabSyntaxError as error:
        raise Refusal(400, f"Invalid dtab: {error}") from error


def _untransformed(path: Path) -> Path:
    """Without the mark that a transformer of Linkerd puts in front of a bound id: /%/io.l5d.port/4140/#/…"""
    if path[:1] != (_TRANSFORMED,):
        return path
    at = next((index for index, segment in enumerate(path) if segment in ("#", "$")), len(path))
    return path.drop(at)
