"""The login of DC/OS against a fake that verifies the signature with the account's public key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest

from discovery.marathon.config import Login, MarathonConfig
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable
from tests.discovery.contract import ONE, TWO, watching
from tests.fakes.marathon import FakeMarathon, fake_marathon
from tests.fakes.marathon_login import LOGIN, key_pair

USERS = Path(("users",))
KEYS, OTHER_KEYS = key_pair(), key_pair()


@pytest.fixture
async def fake() -> AsyncIterator[FakeMarathon]:
    async with fake_marathon() as running:
        running.apps.place("/users", [ONE])
        running.logins.register("tieline", KEYS[1])
        yield running


@pytest.fixture
def key_file(tmp_path: FilePath) -> FilePath:
    file = tmp_path / "key.pem"
    file.write_text(KEYS[0])
    return file


def config(fake: FakeMarathon, key_file: FilePath, **keys: object) -> MarathonConfig:
    login = Login.model_validate({"uid": "tieline", "url": fake.urls[0] + LOGIN, "private_key_file": key_file, **keys})
    return MarathonConfig(addresses=(fake.urls[0],), login=login, timeout=2)


async def refused(config: MarathonConfig) -> SourceError:
    async with config.open() as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert watch.published == []
        return error


async def test_it_logs_in_once_for_everything(fake: FakeMarathon, key_file: FilePath) -> None:
    async with config(fake, key_file).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users", [TWO])
        await watch.sees(TWO)
    assert fake.logins.count == 1


async def test_a_token_that_is_refused_is_renewed_once_and_nobody_notices(
    fake: FakeMarathon, key_file: FilePath
) -> None:
    async with config(fake, key_file).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.logins.expire()
        for number in range(8):
            fake.apps.place(f"/other/{number}", [TWO])
        fake.apps.place("/users", [ONE, TWO])
        await watch.sees(ONE, TWO)
        assert watch.error is None
    assert fake.logins.count == 2


async def test_a_key_that_changes_is_used_at_the_next_login(fake: FakeMarathon, key_file: FilePath) -> None:
    async with config(fake, key_file).open() as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        key_file.write_text(OTHER_KEYS[0])
        fake.logins.register("tieline", OTHER_KEYS[1])
        fake.logins.expire()
        fake.apps.place("/users", [TWO])
        await watch.sees(TWO)


async def test_a_token_that_is_never_accepted_is_misconfigured(fake: FakeMarathon, key_file: FilePath) -> None:
    fake.logins.refuses_tokens = True
    error = await refused(config(fake, key_file))
    assert isinstance(error, Misconfigured)
    assert "answers 401 to /v2/events" in str(error)
    assert "token-" not in str(error)
    assert fake.logins.count == 2


async def test_the_secret_of_a_service_has_it_all(fake: FakeMarathon, tmp_path: FilePath) -> None:
    secret = {"uid": "tieline", "private_key": KEYS[0], "scheme": "RS256", "login_endpoint": fake.urls[0] + LOGIN}
    (tmp_path / "secret.json").write_text(json.dumps(secret))
    login = Login(secret_file=tmp_path / "secret.json")
    opened = MarathonConfig(addresses=(fake.urls[0],), login=login).open()
    async with opened as source, watching(source, USERS) as watch:
        await watch.sees(ONE)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"uid": "u"}', "private_key: Field required"),
        ('{"uid": "u", "private_key": "k", "scheme": "HS256"}', "scheme RS256 expected, not HS256"),
        ('{"uid": "u", "private_key": "k"}', "no login_endpoint: set login.url"),
    ],
)
async def test_a_secret_that_makes_no_sense_is_named(
    fake: FakeMarathon, tmp_path: FilePath, secret: str, message: str
) -> None:
    (tmp_path / "secret.json").write_text(secret)
    login = Login(secret_file=tmp_path / "secret.json")
    error = await refused(MarathonConfig(addresses=(fake.urls[0],), login=login))
    assert isinstance(error, Misconfigured)
    assert message in str(error)


@pytest.mark.parametrize(
    ("key", "message"),
    [("no key", "the private key of tieline cannot be used"), (OTHER_KEYS[0], "refused with 401")],
)
async def test_a_wrong_key_is_misconfigured_and_not_shown(
    fake: FakeMarathon, key_file: FilePath, key: str, message: str
) -> None:
    key_file.write_text(key)
    error = await refused(config(fake, key_file))
    assert isinstance(error, Misconfigured)
    assert message in str(error)
    assert "PRIVATE" not in str(error)


async def test_a_key_file_that_is_not_there_is_named(fake: FakeMarathon, tmp_path: FilePath) -> None:
    error = await refused(config(fake, tmp_path / "nothing.pem"))
    assert isinstance(error, Misconfigured)
    assert "login.private_key_file" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (503, b"", "is answered with 503"),
        (200, b"<html>", "is answered with nonsense: Invalid JSON"),
        (200, b'{"token": 7}', "is answered with nonsense: token: Input should be a valid string"),
    ],
)
async def test_a_login_that_does_not_work_now_is_unavailable(
    fake: FakeMarathon, key_file: FilePath, status: int, body: bytes, message: str
) -> None:
    fake.logins.answers = (status, body)
    error = await refused(config(fake, key_file))
    assert isinstance(error, Unavailable)
    assert message in str(error)


async def test_a_login_where_nobody_listens_is_unavailable(fake: FakeMarathon, key_file: FilePath) -> None:
    error = await refused(config(fake, key_file, url="http://127.0.0.1:1/login"))
    assert isinstance(error, Unavailable)
    assert "the login of tieline at http://127.0.0.1:1/login fails" in str(error)
