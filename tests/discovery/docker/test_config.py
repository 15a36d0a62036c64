import sys
from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from discovery.docker.config import DockerConfig, Tls
from discovery.path import Path
from discovery.source import Hears, Misconfigured


@pytest.mark.parametrize(
    "address",
    ["unix:///run/podman/podman.sock", "tcp://docker.example:2376", "http://127.0.0.1:2375", "https://[::1]:2376"],
)
def test_addresses(address: str) -> None:
    assert DockerConfig(address=address).address == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "expected, not ''"),
        ("/var/run/docker.sock", "expected, not '/var/run/docker.sock'"),
        ("unix://", "expected, not"),
        ("unix://run/docker.sock", "expected, not"),
        ("npipe:////./pipe/docker", "expected, not"),
        ("ssh://root@host", "no credentials in the address: use tls"),
        ("tcp://me:secret@host:1", "no credentials in the address: use tls"),
        ("tcp://host", "the port is missing in 'tcp://host': 2376 is Docker's with TLS"),
        ("tcp://host:2376/path", "expected, not"),
        ("tcp://host:port", "expected: "),
    ],
)
def test_addresses_that_are_none_say_what_is_expected(address: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DockerConfig(address=address)


def test_tls_goes_with_a_host_and_a_certificate_with_its_key() -> None:
    for address in ("unix:///run/docker.sock", "http://host:2375"):
        with pytest.raises(ValidationError, match="tls is set but the address is"):
            DockerConfig(address=address, tls=Tls())
    with pytest.raises(ValidationError, match="cert_file and key_file go together"):
        Tls(cert_file=FilePath("cert.pem"))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("unix:///run/docker.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("http://[::1]:2375", True),
        ("tcp://192.0.2.1:2376", False),
        ("tcp://docker.example:2376", False),
    ],
)
def test_a_daemon_on_this_machine(address: str, local: bool) -> None:
    assert DockerConfig(address=address).is_local is local


def test_names_are_a_project_and_a_service() -> None:
    config = DockerConfig()
    assert (config.root, config.name_segments, config.freshness.hears) == (Path(("#", "docker")), 2, Hears.EVENTS)


def test_durations() -> None:
    config = DockerConfig.model_validate({"kind": "docker", "timeout": "2s", "stopping": "5m"})
    assert (config.timeout, config.stopping) == (2.0, 300.0)
    with pytest.raises(ValidationError, match="greater than 0"):
        DockerConfig(timeout=0)


async def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("api", "session", "source"):
        monkeypatch.delitem(sys.modules, f"discovery.docker.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(Misconfigured, match=r"install tieline\[docker\]"):
        async with DockerConfig().open():
            pass
