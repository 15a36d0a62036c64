"""`store:` as it is written: what is accepted, what is refused and how."""

from pathlib import Path as File

import pytest
from pydantic import TypeAdapter, ValidationError

from mesh.control.store.config import ConsulStoreConfig, EtcdStoreConfig, SqliteStoreConfig, StoreConfig
from mesh.control.store.protocol import Refused

STORE: TypeAdapter[SqliteStoreConfig | ConsulStoreConfig | EtcdStoreConfig] = TypeAdapter(StoreConfig)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"kind": "sqlite", "file": "c.sqlite"}, SqliteStoreConfig(file=File("/etc/tieline/c.sqlite"))),
        ({"kind": "sqlite", "file": "/var/c.sqlite"}, SqliteStoreConfig(file=File("/var/c.sqlite"))),
        ({"kind": "consul"}, ConsulStoreConfig(address="http://127.0.0.1:8500", prefix="tieline")),
        ({"kind": "consul", "token_file": "t"}, ConsulStoreConfig(token_file=File("/etc/tieline/t"))),
        (
            {"kind": "consul", "address": "unix:///run/consul.sock"},
            ConsulStoreConfig(address="unix:///run/consul.sock"),
        ),
        ({"kind": "etcd"}, EtcdStoreConfig(endpoints=("http://127.0.0.1:2379",))),
        ({"kind": "etcd", "endpoints": ["https://a:1/", "https://b:1"], "tls": {}, "prefix": "a/b"}, None),
        ({"kind": "etcd", "user": "ann", "password_file": "p"}, None),
    ],
)
def test_what_is_written_is_read(written: object, read: object) -> None:
    found = STORE.validate_python(written, context={"folder": File("/etc/tieline")})
    assert read is None or found == read


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "kind"),
        ({"kind": "zookeeper"}, "'sqlite', 'consul', 'etcd'"),
        ({"kind": "sqlite"}, "file"),
        ({"kind": "sqlite", "file": "c", "prefix": "a"}, "Extra inputs"),
        ({"kind": "consul", "address": "127.0.0.1:8500"}, "http://127.0.0.1:8500"),
        ({"kind": "consul", "address": "http://ann:pw@consul"}, "no credentials in the address"),
        ({"kind": "consul", "token": "a", "token_file": "/b"}, "token and token_file are both set"),
        ({"kind": "consul", "tls": {}}, "https:// expected"),
        ({"kind": "consul", "prefix": "/tieline"}, "a prefix such as"),
        ({"kind": "consul", "prefix": "a//b"}, "a prefix such as"),
        ({"kind": "consul", "prefix": "größe"}, "a prefix such as"),
        ({"kind": "consul", "timeout": 0}, "greater than 0"),
        ({"kind": "etcd", "endpoints": []}, "at least 1"),
        ({"kind": "etcd", "endpoints": ["127.0.0.1:2379"]}, "http://127.0.0.1:2379"),
        ({"kind": "etcd", "endpoints": ["http://etcd/v3"]}, "expected, not"),
        ({"kind": "etcd", "endpoints": ["http://ann:pw@etcd"]}, "no credentials in an endpoint"),
        ({"kind": "etcd", "user": "ann"}, "user and password_file go together"),
        ({"kind": "etcd", "endpoints": ["https://a", "http://b"], "tls": {}}, "not all endpoints are https"),
    ],
)
def test_a_mistake_is_told(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        STORE.validate_python(wrong)


def test_the_token_is_not_shown() -> None:
    config = STORE.validate_python({"kind": "consul", "token": "s3cret"})
    assert "s3cret" not in f"{config!r} {config.model_dump_json()}"


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "consul", "address": "https://127.0.0.1:1", "tls": {"ca_file": "/none"}},
        {"kind": "etcd", "endpoints": ["https://127.0.0.1:1"], "tls": {"ca_file": "/none"}},
    ],
)
async def test_files_of_tls_that_are_not_there_are_refused(config: object) -> None:
    with pytest.raises(Refused, match="/none cannot be used"):
        async with STORE.validate_python(config).open():
            pass
