from __future__ import annotations

from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from discovery.marathon.config import MarathonConfig
from discovery.registry import load
from discovery.source import Misconfigured

FILES = {"uid": "tieline", "url": "https://m/acs/api/v1/auth/login", "private_key_file": "/key.pem"}


def configured(**keys: object) -> MarathonConfig:
    return MarathonConfig.model_validate({"kind": "marathon", **keys})


def test_the_kind_is_registered_and_the_longest_name_wins() -> None:
    assert load("marathon") is MarathonConfig
    config = configured()
    assert (config.root.show(), config.longest, config.name_segments, config.fewest_segments) == (
        "/#/marathon",
        True,
        16,
        1,
    )
    assert str(config.freshness) == "events"


@pytest.mark.parametrize("address", ["http://m:8080", "https://leader.mesos/service/marathon/", "http://[::1]:8080"])
def test_an_address_is_accepted(address: str) -> None:
    assert configured(addresses=[address]).addresses == (address.rstrip("/"),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"addresses": []}, "at least 1 item"),
        ({"addresses": ["m:8080"]}, "http://marathon.mesos:8080"),
        ({"addresses": ["http://user:pw@m"]}, "no credentials in the address"),
        ({"addresses": ["http://m?x=1"]}, "expected, not"),
        ({"addresses": ["http://m", "http://m/"]}, "names a master twice"),
        ({"token_file": "/t", "user": "u", "password_file": "/p"}, "keep one"),
        ({"user": "u"}, "user and password_file go together"),
        ({"password_file": "/p"}, "user and password_file go together"),
        ({"tls": {}}, "no address begins with https://"),
        ({"login": {}}, "secret_file, or all of uid, url and private_key_file"),
        ({"login": {**FILES, "secret_file": "/s"}}, "leave uid and private_key_file away"),
        ({"login": {**FILES, "password": "x"}}, "Extra inputs"),
        ({"port": -1}, "greater than or equal to 0"),
        ({"port": ""}, "at least 1 character"),
        ({"idle_timeout": "0s"}, "greater than 0"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"labels": "team"}, "valid tuple"),
        ({"host": "m"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        configured(**wrong)
    assert message in str(raised.value)


def test_ports_by_index_and_by_name() -> None:
    assert [configured(port=port).port for port in (1, "http")] == [1, "http"]


def test_tls_may_be_for_the_login_only() -> None:
    assert configured(login=FILES, tls={}).tls is not None


async def test_tls_files_are_read_when_it_is_opened(tmp_path: FilePath) -> None:
    config = configured(addresses=["https://m"], tls={"ca_file": tmp_path / "ca.pem"})
    with pytest.raises(Misconfigured, match=r"ca\.pem"):
        async with config.open():
            pass
