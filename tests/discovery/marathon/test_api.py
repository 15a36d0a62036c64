"""What the masters answer, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest

from discovery.marathon.config import MarathonConfig
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable
from tests.discovery.contract import ONE, TWO, watching
from tests.fakes.marathon import FakeMarathon, fake_marathon

USERS = Path(("users",))


@pytest.fixture
async def fake() -> AsyncIterator[FakeMarathon]:
    async with fake_marathon(2) as running:
        running.apps.place("/users", [ONE])
        yield running


async def refused(fake: FakeMarathon, **keys: object) -> SourceError:
    """How the observation ends, nothing having been published."""
    config = MarathonConfig.model_validate({"kind": "marathon", "addresses": fake.urls[:1], **keys})
    async with config.open() as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert watch.published == []
        return error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (429, Unavailable),
        (204, Misconfigured),
        (400, Misconfigured),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
    ],
)
async def test_a_status_is_told_with_what_marathon_said(
    fake: FakeMarathon, status: int, kind: type[SourceError]
) -> None:
    fake.faults.status = status
    error = await refused(fake)
    assert isinstance(error, kind)
    assert f"{fake.urls[0]} answers {status} to /v2/events: " in str(error)
    assert status == 204 or "as the test wants it" in str(error)


async def test_without_a_leader_it_is_unavailable(fake: FakeMarathon) -> None:
    fake.elect(None)
    error = await refused(fake)
    assert isinstance(error, Unavailable)
    assert "answers 503 to /v2/events: Could not determine the current leader" in str(error)


async def test_the_token_is_not_shown(fake: FakeMarathon, tmp_path: FilePath) -> None:
    (tmp_path / "token").write_text("s3cret")
    fake.faults.status, fake.faults.text = 403, "token=s3cret, or s3cret, may not"
    error = await refused(fake, token_file=tmp_path / "token")
    assert "answers 403 to /v2/events: ***, or ***, may not (the account has to be allowed" in str(error)


@pytest.mark.parametrize("way", ["token", "basic"])
async def test_who_we_are_is_said_with_every_question(fake: FakeMarathon, tmp_path: FilePath, way: str) -> None:
    (tmp_path / "secret").write_text("open sesame" if way == "basic" else "s3cret")
    fake.logins.accept("Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==" if way == "basic" else "token=s3cret")
    token, basic = {"token_file": tmp_path / "secret"}, {"user": "aladdin", "password_file": tmp_path / "secret"}
    keys = basic if way == "basic" else token
    config = MarathonConfig.model_validate({"kind": "marathon", "addresses": fake.urls[:1], **keys})
    async with config.open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users", [TWO])
        await watch.sees(TWO)


async def test_a_question_that_nobody_answers_is_unavailable(fake: FakeMarathon) -> None:
    fake.faults.stalls = True
    error = await refused(fake, timeout="50ms")
    assert str(error) == f"{fake.urls[0]} has not answered /v2/events within 0.05 s"


async def test_nobody_listening_is_unavailable(fake: FakeMarathon) -> None:
    error = await refused(fake, addresses=["http://127.0.0.1:1"])
    assert isinstance(error, Unavailable)
    assert "http://127.0.0.1:1 cannot be asked for /v2/events: Cannot connect" in str(error)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"<html>busy</html>", "/v2/apps makes no sense: Expecting value at character 1"),
        (b"", "/v2/apps makes no sense: Expecting value at character 1, where the text ends"),
        (b'{"apps": [{"id": "/users"', "Expecting ',' delimiter at character 26, where the text ends"),
        (b'{"message": "busy"}', "an object with a list `apps` expected"),
    ],
)
async def test_garbage_is_told_with_the_place(fake: FakeMarathon, body: bytes, where: str) -> None:
    fake.faults.body["/v2/apps"] = body
    error = await refused(fake)
    assert isinstance(error, Unavailable)
    assert where in str(error)


async def test_half_an_answer_is_told(fake: FakeMarathon) -> None:
    fake.faults.halves = True
    assert str(await refused(fake)) == f"{fake.urls[0]} broke off its answer to /v2/apps"


async def test_an_app_that_somebody_in_between_does_not_know_is_not_gone(fake: FakeMarathon) -> None:
    async with MarathonConfig(addresses=(fake.urls[0],)).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.faults.body["/v2/apps/users"] = b"<html>no such route</html>"
        fake.apps.destroy("/users")
        assert "answers 404 to /v2/apps/users, but not as Marathon does" in str(await watch.ends())
        # The event that its task was killed is believed; that there is no such app is not.
        await watch.sees()


async def test_a_master_that_is_down_is_passed_over(fake: FakeMarathon) -> None:
    fake.leader = 1
    await fake.go_dark(0)
    async with MarathonConfig(addresses=tuple(fake.urls)).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)


async def test_when_all_are_down_each_is_named(fake: FakeMarathon) -> None:
    await fake.go_dark()
    error = str(await refused(fake, addresses=fake.urls))
    assert all(f"{url} cannot be asked" in error for url in fake.urls)


async def test_a_master_that_does_not_lead_answers_too(fake: FakeMarathon) -> None:
    async with MarathonConfig(addresses=(fake.urls[1],)).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users", [TWO])
        await watch.sees(TWO)


async def test_a_master_that_sends_us_to_the_leader_is_obeyed_if_we_know_that_one(fake: FakeMarathon) -> None:
    fake.faults.redirects_events, fake.leader = True, 1
    async with MarathonConfig(addresses=tuple(fake.urls)).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
    error = await refused(fake)
    assert isinstance(error, Unavailable)
    assert f"{fake.urls[0]} sends us to {fake.urls[1]}/v2/events, which is none of `addresses`" in str(error)


async def test_names_that_would_be_paths_of_the_api_are_quoted(fake: FakeMarathon) -> None:
    fake.apps.place("/users/a b?c", [ONE])
    name = Path(("users", "a b?c"))
    async with MarathonConfig(addresses=(fake.urls[0],)).open() as source, watching(source, name) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users/a b?c", [TWO])
        await watch.sees(TWO)
