"""A Marathon with one or more masters, as its documentation says it answers (the shapes: `marathon_apps`).

    python -m tests.fakes.marathon --port 0 --apps 1000 --tasks 10      prints its URL; ruled by `PUT /fake/apps/<id>`

Masters that do not lead forward, or send elsewhere for events, or have no leader. Whatever else is asked is refused
and fails the test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.marathon_apps import TIMESTAMP, Apps, Json
from tests.fakes.marathon_login import LOGIN, Logins

NO_LEADER = b"Could not determine the current leader"
_CLOSED: Json = {}


@dataclass(slots=True)
class Listener:
    types: set[str]
    queue: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)
    stalls: bool = False


@dataclass(slots=True)
class Faults:
    """What goes wrong, until it is set back."""

    stalls: bool = False
    """Questions are taken and not answered."""
    stalls_at: str = ""
    """The same, of this path only."""
    stream_stalls: bool = False
    """Streams stay open and nothing comes any more, no heartbeat either."""
    is_mute: bool = False
    """Events are lost."""
    drops: int = 0
    """One event in so many is lost."""
    status: int = 0
    """Of every answer, with this text."""
    text: str = "as the test wants it"
    body: dict[str, bytes] = field(default_factory=dict)
    """By path: instead of what is true."""
    halves: bool = False
    """Answers break off in the middle."""
    redirects_events: bool = False
    """Masters that do not lead send who asks for events to the one that does, as newer ones do."""
    first_event: str = "event_stream_attached"
    """'': streams are closed at once, as by a master that has been elected and is not yet ready."""


class FakeMarathon:
    def __init__(self, heartbeat: float) -> None:
        self.faults, self.logins = Faults(), Logins()
        self.apps = Apps(self.tell)
        self.urls: list[str] = []
        self.leader: int | None = 0
        self.asked: list[str] = []
        self.beats = 0
        self.unexpected: list[str] = []
        self._heartbeat = heartbeat
        self._listeners: list[Listener] = []
        self._runners: list[web.ServerRunner] = []
        self._told = 0
        self._changed = asyncio.Event()

    # What the test rules

    def tell(self, event: Json) -> None:
        self._told += 1
        if self.faults.is_mute or (self.faults.drops and self._told % self.faults.drops == 0):
            return
        for listener in self._listeners:
            if not listener.types or event["eventType"] in listener.types:
                listener.queue.put_nowait(event)

    def close_streams(self) -> None:
        for listener in self._listeners:
            listener.queue.put_nowait(_CLOSED)

    def stall_streams(self) -> None:
        """Those that are open now. New ones are not concerned."""
        for listener in self._listeners:
            listener.stalls = True

    def elect(self, leader: int | None) -> None:
        """The former leader closes its streams; None: there is no leader yet."""
        self.leader = leader
        self.close_streams()

    async def has_been_asked(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while sum(asked.startswith(what) for asked in self.asked) < times:
                self._changed.clear()
                await self._changed.wait()

    async def go_dark(self, *masters: int) -> None:
        """These, or all."""
        for master in masters or range(len(self._runners)):
            await self._runners[master].cleanup()

    async def come_back(self, *masters: int) -> None:
        for master in masters or range(len(self._runners)):
            await self._listen(master, int(self.urls[master].rpartition(":")[2]))

    async def start(self, masters: int, port: int = 0) -> None:
        for master in range(masters):
            self._runners.append(self._runner(master))
            self.urls.append("")
            await self._listen(master, port)

    def _runner(self, master: int) -> web.ServerRunner:
        server = web.Server(lambda request: self._answer(master, request), handler_cancellation=True)
        return web.ServerRunner(server, shutdown_timeout=0.01)

    async def _listen(self, master: int, port: int) -> None:
        self._runners[master] = self._runner(master)
        await self._runners[master].setup()
        await web.TCPSite(self._runners[master], "127.0.0.1", port).start()
        self.urls[master] = "http://{}:{}".format(*self._runners[master].addresses[0][:2])

    # What it answers

    async def _answer(self, master: int, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/fake/"):
            return await self._ruled(request)
        self.asked.append(f"{request.method} {request.path_qs}")
        self._changed.set()
        if self.faults.stalls or request.path == self.faults.stalls_at:
            await asyncio.get_running_loop().create_future()
        if request.path == LOGIN:
            status, body = self.logins.answer(await request.read())
            return web.Response(status=status, body=body, content_type="application/json")
        if self.faults.status:
            return web.Response(status=self.faults.status, text=self.faults.text)
        if not self.logins.admits(request.headers.get("Authorization", "")):
            return web.json_response({"message": "Invalid username or password."}, status=401)
        if self.leader is None:
            return web.Response(status=503, body=NO_LEADER)
        headers = {"X-Marathon-Leader": self.urls[self.leader]}
        if master != self.leader:
            headers["X-Marathon-Via"] = f"1.1 {self.urls[master].removeprefix('http://')}"
        return await self._led(request, headers, self.leader == master)

    async def _led(self, request: web.BaseRequest, headers: dict[str, str], is_leader: bool) -> web.StreamResponse:
        if request.method != "GET":
            return self._refused(request)
        if request.path == "/v2/events" and request.path not in self.faults.body:
            if self.faults.redirects_events and not is_leader:
                assert self.leader is not None
                return web.Response(status=302, headers={"Location": self.urls[self.leader] + request.path_qs})
            return await self._events(request, headers)
        known = self._body(request)
        if request.path in self.faults.body:
            known = known[0] if known else 200, self.faults.body[request.path]
        if known is None:
            return self._refused(request)
        status, body = known
        if self.faults.halves:
            return await self._half(request, body)
        kind = {b"{": "application/json", b"<": "text/html"}.get(body[:1], "text/plain")
        return web.Response(status=status, body=body, content_type=kind, headers=headers)

    def _body(self, request: web.BaseRequest) -> tuple[int, bytes] | None:
        """None: such a question is not expected."""
        accept, path, query = request.headers.get("Accept", ""), request.path, request.query
        embeds = set(query.getall("embed", []))
        is_list = path == "/v2/apps"
        if accept != "application/json" or set(query) - {"embed"}:
            return (200, self._plain()) if path == "/v2/tasks" and accept == "text/plain" else None
        if embeds - {"apps.tasks" if is_list else "app.tasks"}:
            return None
        if is_list:
            return 200, self.apps.all(with_tasks=bool(embeds))
        if path == "/v2/tasks":
            return 200, json.dumps({"tasks": self.apps.listed_tasks(self.apps.ids())}).encode()
        if path == "/v2/leader":
            return 200, json.dumps({"leader": self.urls[self.leader or 0].removeprefix("http://")}).encode()
        return self._app(path, with_tasks=bool(embeds)) if path.startswith("/v2/apps/") else None

    def _app(self, path: str, *, with_tasks: bool) -> tuple[int, bytes]:
        app_id = "/" + path.removeprefix("/v2/apps/").lstrip("/")
        if app_id.endswith("/tasks"):
            tasks = self.apps.listed_tasks([app_id.removesuffix("/tasks")])
            return 200, json.dumps({"tasks": tasks}).encode()
        found = self.apps.one(app_id, with_tasks=with_tasks)
        if found is None:
            return 404, json.dumps({"message": f"App '{app_id}' does not exist"}).encode()
        return 200, b'{"app":' + found + b"}"

    def _plain(self) -> bytes:
        lines = []
        for app_id in self.apps.ids():
            places = [f"{each['host']}:{port}" for each in self.apps.tasks(app_id) for port in each["ports"]]  # type: ignore[attr-defined]
            lines.append("\t".join([app_id.strip("/").replace("/", "_"), "10000", *places]))
        return "".join(f"{line}\n" for line in lines).encode()

    def _refused(self, request: web.BaseRequest) -> web.Response:
        self.unexpected.append(f"{request.method} {request.path_qs} Accept: {request.headers.get('Accept')}")
        return web.Response(status=501)

    async def _half(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _events(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        if request.headers.get("Accept") != "text/event-stream":
            return web.Response(status=405, text="HTTP method GET is not supported by this URL")
        if set(request.query) - {"event_type"}:
            return self._refused(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        listener = Listener(set(request.query.getall("event_type", [])))
        self._listeners.append(listener)
        first = self.faults.first_event
        attached: Json = {"remoteAddress": request.remote, "eventType": first, "timestamp": TIMESTAMP}
        listener.queue.put_nowait(attached if first else _CLOSED)
        try:
            with suppress(ConnectionError):
                await self._write(response, listener)
        finally:
            self._listeners.remove(listener)
        return response

    async def _write(self, response: web.StreamResponse, listener: Listener) -> None:
        while True:
            try:
                event = await asyncio.wait_for(listener.queue.get(), self._heartbeat)
            except TimeoutError:
                if not (self.faults.stream_stalls or listener.stalls):
                    # As Jetty does, so that a peer that is gone is noticed at the second.
                    self.beats += 1
                    await response.write(b"\r")
                    await response.write(b"\n")
                continue
            if event is _CLOSED:
                return
            if not (self.faults.stream_stalls or listener.stalls):
                text = json.dumps(event, separators=(",", ":"))
                await response.write(f"event: {event['eventType']}\r\ndata: {text}\r\n\r\n".encode())

    # What another process rules

    async def _ruled(self, request: web.BaseRequest) -> web.Response:
        path = request.path.removeprefix("/fake")
        if request.method == "PUT" and path.startswith("/apps/"):
            self.apps.place(path.removeprefix("/apps"), [(host, port) for host, port in await request.json()])
        elif request.method == "DELETE" and path.startswith("/apps/"):
            self.apps.destroy(path.removeprefix("/apps"))
        elif request.method == "PUT" and path == "/faults":
            self.faults = Faults(**await request.json())
        else:
            return self._refused(request)
        return web.Response(status=204)


@asynccontextmanager
async def fake_marathon(masters: int = 1, *, heartbeat: float = 10.0, port: int = 0) -> AsyncIterator[FakeMarathon]:
    fake = FakeMarathon(heartbeat)
    await fake.start(masters, port)
    try:
        yield fake
    finally:
        await fake.go_dark()
    assert not fake.unexpected, fake.unexpected


def fill(fake: FakeMarathon, apps: int, tasks: int) -> None:
    """`/app/<n>`, each task at an address of its own."""
    for app in range(apps):
        places = (number for number in range(app * tasks, (app + 1) * tasks))
        fake.apps.place(f"/app/{app}", [(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 31000) for n in places])


async def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--apps", type=int, default=0)
    options.add_argument("--tasks", type=int, default=10)
    options.add_argument("--heartbeat", type=float, default=10.0)
    given = options.parse_args()
    async with fake_marathon(port=given.port, heartbeat=given.heartbeat) as fake:
        fill(fake, given.apps, given.tasks)
        fake.apps.all(with_tasks=True)
        print(fake.urls[0], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
