"""Streams of events that stall, end, or never begin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from discovery.marathon.config import MarathonConfig
from discovery.marathon.source import STEADY_SECONDS
from discovery.path import Path
from discovery.source import Unavailable
from tests.discovery.contract import ONE, THREE, TWO, eventually, watching
from tests.fakes.marathon import FakeMarathon, fake_marathon

USERS = Path(("users",))
EVENTS = "GET /v2/events"


@pytest.fixture
async def fake() -> AsyncIterator[FakeMarathon]:
    async with fake_marathon(2, heartbeat=0.05) as running:
        running.apps.place("/users", [ONE])
        yield running


def config(fake: FakeMarathon, **keys: object) -> MarathonConfig:
    return MarathonConfig.model_validate({"kind": "marathon", "addresses": fake.urls, **keys})


async def test_a_stream_without_a_byte_is_left_for_the_next_master_and_all_is_read_again(fake: FakeMarathon) -> None:
    async with (
        config(fake, idle_timeout=STEADY_SECONDS + 0.2).open() as source,
        watching(source, USERS) as watch,
    ):
        await watch.sees(ONE)
        fake.stall_streams()
        fake.apps.place("/users", [TWO])
        await watch.sees(TWO)
        assert watch.error is None
        fake.apps.place("/users", [THREE])
        await watch.sees(THREE)


async def test_heartbeats_keep_a_quiet_stream(fake: FakeMarathon) -> None:
    async with config(fake, idle_timeout="500ms").open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        beats = fake.beats
        await eventually(lambda: fake.beats > beats + 20, "20 heartbeats, which is twice the timeout")
        assert sum(asked.startswith(EVENTS) for asked in fake.asked) == 1


async def test_a_leader_that_closes_its_streams_is_followed_by_the_next_one(fake: FakeMarathon) -> None:
    async with config(fake).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.faults.is_mute = True
        fake.apps.place("/users", [TWO])
        fake.faults.is_mute = False
        fake.elect(1)
        await watch.sees(TWO)
        assert watch.error is None
        fake.apps.place("/users", [THREE])
        await watch.sees(THREE)


async def test_a_leader_that_changed_without_closing_the_stream_is_noticed_at_the_next_read(
    fake: FakeMarathon,
) -> None:
    async with config(fake).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.leader = 1
        async with watching(source, USERS) as second:
            await second.sees(ONE)
        assert watch.error is None
        await fake.has_been_asked(EVENTS, 2)


async def test_a_stream_that_is_closed_before_it_begins_is_unavailable(fake: FakeMarathon) -> None:
    fake.faults.first_event = ""
    async with config(fake).open() as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert f"the event stream of {fake.urls[0]}/v2/events ended before it began: is there no leader?" in str(error)
        assert watch.published == []


async def test_a_stream_that_begins_with_something_else_is_unavailable(fake: FakeMarathon) -> None:
    fake.faults.first_event = "status_update_event"
    async with config(fake).open() as source, watching(source, USERS) as watch:
        assert "begins with 'status_update_event' instead of event_stream_attached" in str(await watch.ends())


async def test_a_stream_that_does_not_begin_is_unavailable(fake: FakeMarathon) -> None:
    fake.faults.stream_stalls = True
    async with config(fake, timeout="100ms").open() as source, watching(source, USERS) as watch:
        assert "has not begun within 0.1 s" in str(await watch.ends())


async def test_a_page_instead_of_a_stream_is_unavailable(fake: FakeMarathon) -> None:
    fake.faults.body["/v2/events"] = b"<html>log in</html>"
    async with config(fake).open() as source, watching(source, USERS) as watch:
        assert "/v2/events is text/html: is that Marathon?" in str(await watch.ends())


async def test_an_event_that_makes_no_sense_is_unavailable_and_takes_nothing_with_it(fake: FakeMarathon) -> None:
    async with config(fake).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.tell({"eventType": "status_update_event", "appId": 7})
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "answer to /v2/events makes no sense: status_update_event: appId: " in str(error)
        await watch.sees(ONE)
