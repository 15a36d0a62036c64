"""A third party, PyPI's `marathon`, judges our fake: what it reads there is what we put, and it follows the events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from marathon import MarathonClient
from marathon.exceptions import MarathonHttpError, NotFoundError

from tests.fakes.marathon import FakeMarathon, fake_marathon
from tests.fakes.marathon_apps import result


@pytest.fixture
async def fake() -> AsyncIterator[FakeMarathon]:
    async with fake_marathon(2, heartbeat=0.05) as running:
        yield running


async def test_it_reads_the_apps_and_their_tasks(fake: FakeMarathon) -> None:
    tasks = [fake.apps.new_task("/shop/users", "10.0.0.1", 31000, healthCheckResults=[result(alive=True)])]
    fake.apps.define("/shop/users", *tasks, labels={"tieline.weight": "2"})
    client = MarathonClient(fake.urls)
    (app,) = await asyncio.to_thread(client.list_apps)
    assert (app.id, app.labels, app.networks) == ("/shop/users", {"tieline.weight": "2"}, [{"mode": "host"}])
    app = await asyncio.to_thread(client.get_app, "shop/users", embed_tasks=True)
    (task,) = app.tasks
    assert (task.host, task.ports, task.state) == ("10.0.0.1", [31000], "TASK_RUNNING")
    assert [check.alive for check in task.health_check_results] == [True]
    with pytest.raises(NotFoundError, match="does not exist"):
        await asyncio.to_thread(client.get_app, "shop")


async def test_it_lists_tasks_of_all_and_of_one(fake: FakeMarathon) -> None:
    fake.apps.place("/users", [("10.0.0.1", 80), ("10.0.0.2", 80)])
    fake.apps.place("/orders", [("10.0.0.3", 80)])
    client = MarathonClient(fake.urls[0])
    assert {task.host for task in await asyncio.to_thread(client.list_tasks)} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert [task.app_id for task in await asyncio.to_thread(client.list_tasks, "/orders")] == ["/orders"]


class Follower:
    """The client's own reading of the stream, in a thread, since it blocks."""

    def __init__(self, url: str) -> None:
        self._events: Iterator[object] = MarathonClient(url).event_stream(
            event_types=["event_stream_attached", "status_update_event"]
        )

    async def next(self) -> object:
        return await asyncio.wait_for(asyncio.to_thread(next, self._events), 10)


@pytest.mark.parametrize("master", [0, 1])
async def test_it_follows_the_events_also_where_it_is_sent_to_the_leader(fake: FakeMarathon, master: int) -> None:
    fake.faults.redirects_events = True
    follower = Follower(fake.urls[master])
    assert type(await follower.next()).__name__ == "MarathonEventStreamAttached"
    fake.apps.place("/users", [("10.0.0.1", 80)])
    event = await follower.next()
    assert (event.app_id, event.task_status, event.host) == ("/users", "TASK_RUNNING", "10.0.0.1")  # type: ignore[attr-defined]


async def test_it_is_refused_until_it_says_who_it_is(fake: FakeMarathon) -> None:
    fake.logins.accept("token=s3cret")
    with pytest.raises(MarathonHttpError, match="Invalid username"):
        await asyncio.to_thread(MarathonClient(fake.urls[0]).list_apps)
    assert await asyncio.to_thread(MarathonClient(fake.urls[0], auth_token="s3cret").list_apps) == []


async def test_events_without_the_right_accept_are_not_allowed_and_the_unknown_is_refused() -> None:
    async def ask() -> None:
        async with fake_marathon() as fake, aiohttp.ClientSession(fake.urls[0]) as session:
            async with session.get("/v2/events") as answer:
                assert answer.status == 405
            async with session.get("/v2/tasks", headers={"Accept": "text/plain"}) as answer:
                assert answer.content_type == "text/plain"
            async with session.delete("/v2/apps/users") as answer:
                assert answer.status == 501

    with pytest.raises(AssertionError, match="DELETE /v2/apps/users"):
        await ask()
