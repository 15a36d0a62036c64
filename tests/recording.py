"""Records what an agent and its control plane say to each other, both as they are run, and plays it again.

python -m tests.recording     writes tests/discovery/remote/recorded/<version>/{agent,control}.jsonl

A frame a line, as it was sent. Several streams stand one after the other: each begins with `hello` and, at the control
plane's end, with `welcome` or `refused`. What differs from machine to machine is replaced by PLACE and REPLICA.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, web

from demo.calls import call
from mesh.envoy.binary import binary
from scripts.running import Agent, agent, eventually, folder, service
from tests.control import Served, control, token
from tests.host import PATIENCE
from tests.manual import ROOT

RECORDED = ROOT / "tests" / "discovery" / "remote" / "recorded"
PLACE, REPLICA = "/srv/tieline", "control-1"
PORTS = {18_080: "one", 18_081: "two"}
"""Where the recorded services listen, and what they answer."""
POLICIES = "- match: /svc/users\n  timeout: {request: 5s}\n"
NOT_THERE = "- match: /svc/users\n  tls: {ca: /nowhere/ca.pem, sni: users}\n"
TABLES = [
    ("/svc => /#/files ; /svc/away => /#/consul/dc1/away ; /svc/mine => /#/own/mine", POLICIES),
    ("/svc => /#/files ; /svc/mine => /#/own/mine", NOT_THERE),
    ("/svc => /#/files ; /svc/mine => /#/own/mine ; /svc/orders => /#/files/users", ""),
]
Frame = dict[str, object]


def frames(version: str, end: str) -> list[Frame]:
    """`end`: agent or control."""
    lines = (RECORDED / version / f"{end}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def streams(version: str, end: str) -> list[list[Frame]]:
    """Of several streams, each with the frame that it begins with."""
    found: list[list[Frame]] = []
    for frame in frames(version, end):
        if frame["type"] in ("hello", "welcome", "refused"):
            found.append([])
        found[-1].append(frame)
    return found


@dataclass(slots=True)
class Tap:
    """Between an agent and its control plane. No table is let through before there was a report without one."""

    port: int
    streams: list[dict[str, list[str]]] = field(default_factory=list)
    """What each end said, by stream."""
    open: list[web.WebSocketResponse] = field(default_factory=list)
    reported: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, end: str, *words: str) -> int:
        """How many frames there are that have all of these words in them."""
        return sum(all(word in text for word in words) for text in self.said(end))

    def said(self, end: str) -> list[str]:
        """One stream after the other, though they may have been at the same time."""
        return [text for stream in self.streams for text in stream[end]]

    async def cut(self) -> None:
        for near in self.open:
            await near.close()

    async def relay(self, request: web.Request) -> web.WebSocketResponse:
        near = web.WebSocketResponse(compress=False)
        await near.prepare(request)
        authorization = {"authorization": request.headers["authorization"]}
        url = f"http://127.0.0.1:{self.port}{request.path}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers=authorization, autoping=False) as far,
            asyncio.TaskGroup() as tasks,
        ):
            self.open.append(near)
            said: dict[str, list[str]] = {"agent": [], "control": []}
            self.streams.append(said)
            answering = tasks.create_task(self._answers(far, near, said["control"]))
            async for message in near:
                said["agent"].append(message.data)
                if '"status"' in message.data:
                    self.reported.set()
                await far.send_str(message.data)
            self.open.remove(near)
            await far.close()
            answering.cancel()
        return near

    async def _answers(
        self, far: aiohttp.ClientWebSocketResponse, near: web.WebSocketResponse, said: list[str]
    ) -> None:
        async for message in far:
            if message.type is WSMsgType.TEXT:
                if '"table"' in message.data:
                    await self.reported.wait()
                said.append(message.data)
                await near.send_str(message.data)
        await near.close()


@asynccontextmanager
async def listening(handler: Callable[[web.Request], object]) -> AsyncIterator[str]:
    """A control plane's URL, and at its stream `handler`."""
    application = web.Application()
    application.router.add_get("/v1/agent", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def joined(place: Path, url: str, name: str) -> dict[str, object]:
    """The settings of an agent that has a source of its own beside the control plane's."""
    (place / "own").mkdir(exist_ok=True)
    (place / "token").write_text(token(name))
    return {
        "control": {"url": url, "name": name, "token_file": str(place / "token")},
        "sources": [{"kind": "files", "prefix": "own", "folder": str(place / "own")}],
        "names": {"idle": "1s", "linger": "1s", "negative": "1s"},
    }


@dataclass(slots=True)
class Scene:
    """What happens while it is recorded: every frame comes up, and of each the forms that it has."""

    control: Served
    tap: Tap
    agent: Agent

    async def play(self) -> None:
        first, second = PORTS
        self.control.name("users", first)
        await self._put(0)
        for name, status in (("users", 200), ("mine", 200), ("nobody", 404), ("away", 503)):
            await self._until(name, status)
        await self._heard("agent", '"rate"', "/svc/users", "/svc/mine")
        await self._heard("agent", '"release"')
        await self._outage()
        (self.control.folder / "disco" / ".users").write_text(f"127.0.0.1 {first} * 2\n127.0.0.1 {second}\n")
        (self.control.folder / "disco" / ".users").rename(self.control.folder / "disco" / "users")
        await self._until("users", 200)
        await self._put(1)
        await self._heard("agent", '"table_refused":{')
        await self._put(2)
        await self._heard("agent", '"table":3')

    async def again(self) -> None:
        """After a cut; and the end of the namespace."""
        await self._until("users", 200)
        same = self.tap.heard("control", '"same"')
        await self.tap.cut()
        await self._until("users", 200)
        await eventually(lambda: self.tap.heard("control", '"same"') > same, PATIENCE, "no same")
        said = await self.control.ask("DELETE", "/v1/namespaces/default?yes=true")
        assert said.status == 200, said.body
        await self._until("users", 404)

    async def _put(self, at: int) -> None:
        dtab, policies = TABLES[at]
        body = {"dtab": dtab, "policies": policies, "yes": True, "why": "recorded"}
        said = await self.control.ask("PUT", "/v1/namespaces/default", json=body)
        assert said.status == 200, said.body

    async def _until(self, name: str, status: int) -> None:
        async def answered() -> bool:
            return (await call(self.agent.url, name))[0] == status

        await eventually(answered, PATIENCE, f"{name} is not answered with {status}\n{self.agent.tail()}")

    async def _heard(self, end: str, *words: str) -> None:
        """Users are in use meanwhile."""

        async def heard() -> bool:
            for name in ("users", "mine"):
                await call(self.agent.url, name)
            return self.tap.heard(end, *words) > 0

        await eventually(heard, PATIENCE * 2, f"no frame with {words}")

    async def _outage(self) -> None:
        """The folder is gone; the names in it are held, and have more to them when it is back."""
        disco = self.control.folder / "disco"
        await self._until("users", 200)
        disco.rename(disco.with_name("away"))
        await self._heard("control", '"held"')
        disco.with_name("away").rename(disco)


async def record() -> dict[str, list[str]]:
    consul = {"kind": "consul", "address": "http://127.0.0.1:1"}
    files = {"kind": "files", "folder": "disco", "confirm_after": 0, "last_resort": 0}
    first, second = PORTS
    with folder() as place, folder() as other:
        async with service("one", first), service("two", second), control(at=place, sources=[files, consul]) as served:
            tap = Tap(await served.control.listens or 0)
            async with listening(tap.relay) as url:
                settings, refused = joined(place, url, "host7"), joined(other, url, "host8")
                (place / "own" / "mine").write_text(f"127.0.0.1 {second}\n")
                # One name is counted, the other not; and the brain reports before there is an Envoy.
                late = {"metrics": {"names": 1}, "envoy": {"binary": str(_late(place)), "drain": "1s"}}
                with agent(place, {**settings, **late}) as it:
                    await it.until_ready()
                    scene = Scene(served, tap, it)
                    await scene.play()
                    with agent(other, refused):
                        await eventually(lambda: tap.heard("control", '"refused"'), PATIENCE, "host8 is not refused")
                    await scene.again()
        here = ((str(place), PLACE), (str(other), PLACE), (socket.gethostname(), REPLICA))
        return {end: [_neutral(text, here) for text in tap.said(end)] for end in ("agent", "control")}


def _late(place: Path) -> Path:
    """An Envoy that takes a while to come up, as on a busy host."""
    script = place / "envoy.sh"
    script.write_text(f'#!/bin/sh\ncase "$*" in *--version*) ;; *) sleep 3 ;; esac\nexec {binary()} "$@"\n')
    script.chmod(0o755)
    return script


def _neutral(text: str, here: tuple[tuple[str, str], ...]) -> str:
    for found, told in here:
        text = text.replace(found, told)
    return text


def main() -> None:
    said = asyncio.run(record())
    place = RECORDED / importlib.metadata.version("tieline")
    place.mkdir(parents=True, exist_ok=True)
    for end, texts in said.items():
        (place / f"{end}.jsonl").write_text("".join(f"{text}\n" for text in texts))
        print(f"{place / end}.jsonl: {len(texts)} frames")


if __name__ == "__main__":
    main()
