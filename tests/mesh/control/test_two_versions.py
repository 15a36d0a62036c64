"""One minor version apart: every version that was recorded goes on with today's, and today's with what comes after it.

What comes after it is made up here: today's frames with a key more in every object, types that are new, states and
policies of a kind that is not known yet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from demo.calls import call, load
from scripts.running import Agent, agent, eventually, folder, service
from tests.control import Served, Stream, control, token
from tests.host import PATIENCE
from tests.recording import PORTS, RECORDED, TABLES, Frame, frames, joined, streams
from tests.replaying import LATER, MOOD, Replay, Shape, later_frames, replaying, shapes, unread

VERSIONS = sorted(each.name for each in RECORDED.iterdir() if each.is_dir())
FILES = {"kind": "files", "folder": "disco", "confirm_after": 0, "last_resort": 0}
MOVED = "/#/files/moved"
NEW_STATE: Frame = {"moved": {"to": "/#/files/users"}, "since": 1.0, "later": LATER}


def observation(name: str, state: Frame) -> Frame:
    return {"type": "observation", "name": name, "version": "of-a-later-version", "state": state}


@asynccontextmanager
async def played(
    recorded: list[list[Frame]],
) -> AsyncIterator[tuple[Replay, Agent]]:
    """A real agent with its Envoy, at a recorded control plane whose services are there."""
    first, second = PORTS
    async with service(PORTS[first]) as one, service(PORTS[second]) as two:
        with folder() as place:
            async with replaying(recorded, {first: one, second: two}) as replay:
                with agent(place, joined(place, replay.url, "host7")) as it:
                    (place / "own" / "mine").write_text(f"127.0.0.1 {two}\n")
                    await it.until_ready()
                    yield replay, it
                refused = [line for line in it.log.read_text().splitlines() if "Envoy refused" in line]
                assert not refused
                assert "Traceback" not in it.log.read_text()


async def until(it: Agent, name: str, status: int, body: str = "") -> str:
    """What `l5d-err` said."""
    told = ""

    async def answered() -> bool:
        nonlocal told
        found, told, text = await call(it.url, name)
        return found == status and body in text

    await eventually(answered, PATIENCE, f"{name} is not answered with {status}\n{it.tail()}")
    return told


async def standing(it: Agent) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((await it.ask("/status"))[1])["control"]
    return said


# What was recorded


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_agent_of_today_is_served_by_a_recorded_control_plane(version: str) -> None:
    async with played(streams(version, "control")) as (replay, it):
        await until(it, "users", 200, "one")
        async with load(it.url, "users") as seen:
            assert await until(it, "nobody", 404)
            await until(it, "away", 503)
            await until(it, "mine", 200, "two")
            await until(it, "orders", 200)
            assert await seen.until_answered_by("two", PATIENCE)
            assert await seen.until_answered_by("one", PATIENCE)
        assert not seen.failed
        assert (await standing(it))["version"] == 3
        replay.go_on.set()  # It is refused once, comes again, and hears that the namespace is deleted.
        await until(it, "users", 404)
        assert replay.connections >= 3
        known = shapes(frames(version, "agent"))
        assert [wrong for frame in replay.heard for wrong in unread(frame, known)] == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_control_plane_of_today_takes_what_a_recorded_agent_says_and_answers_what_it_can_read(
    version: str,
) -> None:
    known = shapes(frames(version, "control"))
    async with recorded_sources() as served:
        for said in streams(version, "agent"):
            answers = await answered(served, said)
            assert [wrong for frame in answers for wrong in unread(frame, known)] == []
            if said[0]["agent"] == "host8":
                assert [frame["type"] for frame in answers] == ["refused"]
            else:
                assert names(said) <= told(answers)
                new = said[0]["sources"] is None
                assert {"welcome", *(["sources", "table"] if new else [])} <= {frame["type"] for frame in answers}
        await told_of(served, version)


@asynccontextmanager
async def recorded_sources() -> AsyncIterator[Served]:
    async with control(sources=[FILES, {"kind": "consul", "address": "http://127.0.0.1:1"}]) as served:
        served.name("users", *PORTS)
        (dtab, _) = TABLES[0]
        await served.put(dtab)
        yield served


async def answered(served: Served, said: list[Frame]) -> list[Frame]:
    """All that is said to who says this: until each of its names has an answer, and its report was heard."""
    hello, *rest = said
    agent = str(hello["agent"])
    async with connected(served, agent) as stream:
        await stream.send_json(hello)
        answers = [await stream.receive_json(timeout=PATIENCE)]
        if answers[0]["type"] == "welcome":
            for frame in rest:
                await stream.send_json(frame)
                wanted = names([frame])
                while not wanted <= told(answers):
                    answers.append(await stream.receive_json(timeout=PATIENCE))
            await eventually(lambda: served.control.seen.agent(agent), PATIENCE, "it is not known")
            assert not stream.closed
    return answers


@asynccontextmanager
async def connected(served: Served, agent: str) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {token(agent)}"}
    async with served.session.ws_connect("/v1/agent", headers=headers) as stream:
        yield stream


def names(said: list[Frame]) -> set[str]:
    return {
        name
        for frame in said
        if frame["type"] == "want" and isinstance(frame["names"], dict)
        for name in frame["names"]
    }


def told(answers: list[Frame]) -> set[object]:
    same = {
        name
        for frame in answers
        if frame["type"] == "same" and isinstance(frame["names"], list)
        for name in frame["names"]
    }
    return same | {frame["name"] for frame in answers if frame["type"] == "observation"}


def last_report(said: list[Frame]) -> Frame:
    """Of host7: it is the last to speak."""
    return next(frame for frame in reversed(said) if frame["type"] == "status")


async def told_of(served: Served, version: str) -> dict[str, Any]:
    """What the API says of host7, when it has heard its last report."""
    last = last_report(frames(version, "agent"))

    async def heard() -> bool:
        rows = (await served.get("/v1/agents")).json["agents"]
        found.update(next((row for row in rows if row["agent"] == "host7"), {}))
        return found.get("table_since") == last["table_since"]

    found: dict[str, Any] = {}
    await eventually(heard, PATIENCE, "its report was not heard")
    assert (found["version"], found["unreadable"], found["table"]) == (version, None, last["table"])
    in_use = (await served.get("/v1/namespaces/default/names")).json["names"]
    assert {row["name"] for row in in_use} >= {"/svc/users"}
    return found


# What comes after it


async def test_an_agent_serves_on_with_a_control_plane_of_the_next_version_and_tells_what_it_does_not_know() -> None:
    first, *_ = streams(VERSIONS[-1], "control")
    tables = [frame for frame in first if frame["type"] == "table"]
    too_new = {**tables[-1], "version": 9, "policies": "- match: /svc/users\n  mood: {calm: true}\n"}
    again = observation("/#/files/users", NEW_STATE)
    stream = [*later_frames(first), observation(MOVED, NEW_STATE), too_new, again, MOOD]
    async with played([stream]) as (replay, it):
        await until(it, "users", 200, "one")
        async with load(it.url, "users") as seen:
            for name, status in (("nobody", 404), ("away", 503), ("mine", 200), ("orders", 200)):
                await until(it, name, status)
            await until(it, "moved", 503)
            assert "moved" in (await it.ask("/explain?name=moved"))[1]

            async def refused() -> bool:
                return (await standing(it))["refused"] is not None

            await eventually(refused, PATIENCE, "the table that can't be understood is not told of")
            said = await standing(it)
            assert (said["connected"], said["version"], said["refused"]["version"]) == (True, 3, 9)
            assert "mood" in said["refused"]["reason"]

            async def held() -> bool:
                return "what a later version says" in (await it.ask("/explain?name=users"))[1]

            await eventually(held, PATIENCE, "explain does not say why it is held")
            count = seen.answers.total()
            await eventually(lambda: seen.answers.total() > count + 100, PATIENCE, "the load stopped")
        assert not seen.failed
        assert replay.connections == 1


async def test_a_control_plane_serves_an_agent_of_the_next_version_and_tells_what_it_does_not_know() -> None:
    version = VERSIONS[-1]
    first, *_ = streams(version, "agent")
    async with recorded_sources() as served:
        said = later_frames(first)
        answers = await answered(served, said)
        assert names(said) <= told(answers)
        assert {"welcome", "sources", "table"} <= {frame["type"] for frame in answers}
        async with connected(served, "host7") as stream:
            report = {
                **last_report(said),
                "local": {"/#/own/mine": {"moved": {"to": "/#/own/other"}}},
                "table_since": 7.0,
            }
            for frame in (said[0], report):
                await stream.send_json(frame)

            async def heard() -> bool:
                known = served.control.seen.agent("host7")
                return known is not None and known.status is not None and known.status.told["table_since"] == 7.0

            await eventually(heard, PATIENCE, "its report was not heard")
            known = served.control.seen.agent("host7")
            assert known is not None
            assert known.unreadable is None
            assert known.status is not None
            (state,) = known.status.own.values()
            assert "moved" in str(state)


# What judges it


def test_a_key_that_is_left_away_and_another_type_are_found() -> None:
    known = shapes([{"type": "table", "version": 1, "dtab": "x"}, {"type": "table", "version": 2, "dtab": None}])
    assert unread({"type": "table", "version": 3, "dtab": None, "more": []}, known) == []
    assert unread({"type": "table", "dtab": None}, known) == ["table: version left away"]
    assert unread({"type": "table", "version": "3", "dtab": 7}, known) == [
        "table.version: str, not number",
        "table.dtab: number, not NoneType or str",
    ]
    assert unread({"type": "new"}, known) == []


def test_states_of_two_kinds_are_two_shapes() -> None:
    shape = Shape()
    shape.learn({"state": {"known": [], "since": 1.0}})
    shape.learn({"state": {"failed": "why"}})
    assert list(shape.wrong({"state": {"known": []}})) == [".state.known: since left away"]
    shape.learn({"local": {"/#/a": {"endpoints": 1}}})
    assert list(shape.wrong({"local": {"/#/b": {"pending": None}}})) == []
    assert list(shape.wrong({"local": {"/#/b": {"held": True}}})) == [".local{}: endpoints left away"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_of_frame_was_recorded(version: str) -> None:
    assert shapes(frames(version, "agent")).keys() == {"hello", "want", "release", "status"}
    assert shapes(frames(version, "control")).keys() == {
        "welcome", "refused", "table", "sources", "observation", "same"
    }  # fmt: skip


async def test_a_peer_that_says_something_wrong_is_told_so_here_too() -> None:
    """So that what is asserted above can fail."""
    async with control(sources=[FILES]) as served:
        hello = {"type": "hello", "protocol": 1, "agent": "host7"}
        async with connected(served, "host7") as stream:
            await stream.send_json(hello)
            assert (await stream.receive_json())["type"] == "welcome"
            await stream.send_json({"type": "want", "names": []})
            async with asyncio.timeout(PATIENCE):
                while (message := await stream.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert "names: an object expected" in str(message.extra)
