from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from discovery.consul.config import ConsulConfig
from discovery.source import Misconfigured
from discovery.tls import Tls


def test_names_have_a_datacenter_and_with_include_tag_a_tag() -> None:
    assert ConsulConfig().root.show() == "/#/consul"
    assert ConsulConfig().name_segments == 2
    assert ConsulConfig(include_tag=True).name_segments == 3


def test_the_token_is_not_shown() -> None:
    assert "s3cret" not in repr(ConsulConfig.model_validate({"kind": "consul", "token": "s3cret"}))


@pytest.mark.parametrize("address", ["http://127.0.0.1:8500", "https://[::1]:8501/consul/", "unix:///run/consul.sock"])
def test_an_address_is_accepted(address: str) -> None:
    assert ConsulConfig(address=address).address == address.rstrip("/")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"address": "127.0.0.1:8500"}, "http://127.0.0.1:8500"),
        ({"address": "http://user:pw@consul"}, "no credentials in the address"),
        ({"address": "http://consul?dc=1"}, "expected, not"),
        ({"address": "unix://"}, "expected, not"),
        ({"token": "a", "token_file": "/b"}, "token and token_file are both set"),
        ({"tls": {}}, "https:// expected"),
        ({"address": "https://c", "tls": {"cert_file": "/c"}}, "go together"),
        ({"consistency": "strong"}, "'default', 'stale' or 'consistent'"),
        ({"wait": "11m"}, "less than or equal to 600"),
        ({"max_watches": 0}, "greater than or equal to 1"),
        ({"host": "localhost"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ConsulConfig.model_validate({"kind": "consul", **wrong})
    assert message in str(raised.value)


async def test_tls_files_that_cannot_be_read_are_named(tmp_path: FilePath) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in (tmp_path / "nowhere.pem", tmp_path / "ca.pem"):
        config = ConsulConfig(address="https://127.0.0.1:1", tls=Tls(ca_file=file))
        with pytest.raises(Misconfigured, match=str(file)):
            async with config.open():
                pass
