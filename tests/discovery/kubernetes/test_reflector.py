"""What a server says that a well-behaved one says seldom: answers one after the other, as the test writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from discovery.kubernetes import reflector as module
from discovery.kubernetes.access import Access
from discovery.kubernetes.api import Api, session
from discovery.kubernetes.credentials import Anonymous
from discovery.kubernetes.records import Key, Service
from discovery.kubernetes.reflector import SERVICES, Reflector
from discovery.source import Unavailable

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
GONE = 410, json.dumps(EXPIRED).encode()


def service(name: str, port: int = 80, version: str = "7") -> dict[str, object]:
    meta = {"name": name, "namespace": "shop", "resourceVersion": version}
    return {"metadata": meta, "spec": {"type": "ClusterIP", "ports": [{"port": port}]}}


def page(*names: str, more: str = "", version: str = "5") -> tuple[int, bytes]:
    meta = {"resourceVersion": version, "continue": more}
    return 200, json.dumps({"kind": "ServiceList", "metadata": meta, "items": [*map(service, names)]}).encode()


def stream(*events: tuple[str, object]) -> tuple[int, bytes]:
    return 200, b"".join(json.dumps({"type": kind, "object": what}).encode() + b"\n" for kind, what in events)


class Script:
    """Answers as written, then never again."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers, self.asked = list(answers), list[dict[str, str]]()
        self.changed: list[Key] = []
        self.is_over = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if not self.answers:
            self.is_over.set()
            await asyncio.Event().wait()
        status, body = self.answers.pop(0)
        return web.Response(status=status, body=body)


@asynccontextmanager
async def reflecting(script: Script, timeout: float = 10) -> AsyncIterator[Reflector[Service]]:
    runner = web.ServerRunner(web.Server(script.answer, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        access = Access(f"http://127.0.0.1:{runner.addresses[0][1]}", Anonymous())
        async with session(access) as http:
            api, changed = Api(access, http, timeout), script.changed.append
            yield Reflector(api, SERVICES, namespace="", selector="", page_size=2, changed=changed)
    finally:
        await runner.cleanup()


async def until_over(reflector: Reflector[Service], script: Script) -> None:
    async with asyncio.TaskGroup() as group:
        following = group.create_task(reflector.follow())
        async with asyncio.timeout(10):
            await script.is_over.wait()
        following.cancel()


async def test_a_page_that_is_too_old_begins_the_list_again() -> None:
    script = Script(page("a", "b", more="x"), GONE, page("b", "c", more="y"), page("d", version="6"))
    async with reflecting(script) as reflector:
        await reflector.read()
        assert sorted(name for _, name in reflector.store.keys()) == ["b", "c", "d"]  # noqa: SIM118 - it is no dict
    assert [asked.get("continue") for asked in script.asked] == [None, "x", None, "y"]


async def test_a_list_whose_pages_are_always_too_old_is_unavailable() -> None:
    async with reflecting(Script(GONE, GONE, GONE)) as reflector:
        with pytest.raises(Unavailable, match="could not be listed: 3 times"):
            await reflector.read()
        assert list(reflector.store.keys()) == []


async def test_half_a_list_replaces_nothing() -> None:
    script = Script(page("a"), page("b", more="x"), (500, b"etcd"))
    async with reflecting(script) as reflector:
        await reflector.read()
        with pytest.raises(Unavailable, match="answers 500 to /api/v1/services: etcd"):
            await reflector.read()
        assert list(reflector.store.keys()) == [("shop", "a")]


async def test_pages_are_as_large_as_their_objects_let_them_be(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = page("a", more="x"), page(*"bcdefghijk", more="y")
    monkeypatch.setattr(module, "FIRST_PAGE", 1)
    monkeypatch.setattr(module, "PAGE_BYTES", len(small[1]) * 2)
    script = Script(small, large, small, page("z"))
    async with reflecting(script) as reflector:
        await reflector.read()
    assert [asked["limit"] for asked in script.asked] == ["1", "2", "1", "2"], "2 is the page_size"


async def test_what_is_listed_again_and_is_the_same_takes_no_room_of_its_own() -> None:
    async with reflecting(Script(page("a"), page("a", "b"))) as reflector:
        await reflector.read()
        before = next(iter(reflector.store.of(("shop", "a"))))
        await reflector.read()
        assert next(iter(reflector.store.of(("shop", "a")))) is before
        assert len(list(reflector.store.keys())) == 2


async def test_a_watch_goes_on_from_the_last_version_it_heard() -> None:
    mark = "BOOKMARK", {"metadata": {"resourceVersion": "9"}}
    events = [("ADDED", service("b", version="6")), ("DELETED", service("a", version="8")), mark]
    script = Script(page("a"), stream(*events))
    async with reflecting(script) as reflector:
        await reflector.read()
        await until_over(reflector, script)
        assert list(reflector.store.keys()) == [("shop", "b")]
    assert script.changed == [("shop", "b"), ("shop", "a")]
    assert [asked.get("resourceVersion") for asked in script.asked] == [None, "5", "9"]
    assert script.asked[1]["allowWatchBookmarks"] == "true"
    assert 190 <= int(script.asked[1]["timeoutSeconds"]) <= 290


@pytest.mark.parametrize("gone", [GONE, stream(("ERROR", EXPIRED))], ids=["status", "event"])
async def test_after_a_gap_only_what_differs_is_news(gone: tuple[int, bytes]) -> None:
    script = Script(page("a", "b"), gone, page("b", "c", version="90"))
    async with reflecting(script) as reflector:
        await reflector.read()
        await until_over(reflector, script)
    assert sorted(script.changed) == [("shop", "a"), ("shop", "c")]
    assert script.asked[-1]["resourceVersion"] == "90"


async def test_a_watch_that_ends_at_once_again_and_again_is_unavailable() -> None:
    async with reflecting(Script(page("a"), *[stream()] * 3)) as reflector:
        await reflector.read()
        with pytest.raises(Unavailable, match="3 times it ended at once"):
            await reflector.follow()


async def test_versions_that_are_always_gone_are_unavailable() -> None:
    async with reflecting(Script(page("a"), *[GONE, page("a")] * 3)) as reflector:
        await reflector.read()
        with pytest.raises(Unavailable, match="3 times it ended at once"):
            await reflector.follow()


async def test_versions_that_are_always_gone_are_unavailable_however_long_it_takes_to_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE_SECONDS", 0.2)

    class Slow(Script):
        async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
            is_watch = "watch" in request.query
            await asyncio.sleep(0 if is_watch else 0.25)  # as long as 100,000 endpoints take
            status, body = GONE if is_watch else page("a")
            return web.Response(status=status, body=body)

    async with reflecting(Slow()) as reflector:
        await reflector.read()
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable, match="3 times it ended at once"):
                await reflector.follow()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (stream(("ERROR", {"kind": "Status", "code": 500, "message": "etcd is gone"})), "failed: 500 etcd is gone"),
        (stream(("ADDED", {"metadata": {}})), "makes no sense: ADDED.object.metadata.name"),
        ((200, b"<html>\n"), "makes no sense"),
    ],
)
async def test_what_is_wrong_in_a_watch_is_unavailable(said: tuple[int, bytes], text: str) -> None:
    async with reflecting(Script(page("a"), said)) as reflector:
        await reflector.read()
        with pytest.raises(Unavailable) as caught:
            await reflector.follow()
        assert text in str(caught.value)
        assert list(reflector.store.keys()) == [("shop", "a")]


async def test_a_watch_that_neither_says_anything_nor_ends_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)

    class Silent(Script):
        async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
            if "watch" not in request.query:
                return await super().answer(request)
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.Event().wait()
            return response

    async with reflecting(Silent(page("a")), timeout=0.5) as reflector:
        await reflector.read()
        with pytest.raises(Unavailable, match="the watch is silent"):
            await reflector.follow()
