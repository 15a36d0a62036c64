"""Every way in which Marathon, old or new, declares ports."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.marathon.ports import NoSuchPort, Rules, Selected, selected, task_port

HTTP = {"port": 0, "protocol": "tcp", "name": "http"}
ADMIN = {"port": 0, "protocol": "tcp", "name": "admin", "labels": {"tieline.protocol": "grpc"}}
HOST = {"networks": [{"mode": "host"}], "portDefinitions": [HTTP, ADMIN]}
MAPPED = [{"containerPort": 80, "hostPort": 0, "name": "http"}, {"containerPort": 81, "hostPort": 0}]
INNER = [{"containerPort": 80, "name": "http"}, {"containerPort": 0, "hostPort": 0}, {"containerPort": 82}]


def select(app: Any, rules: Rules | None = None) -> Selected | None:
    return selected(app, app.get("labels") or {}, rules or Rules())


@pytest.mark.parametrize(
    ("app", "port", "expected"),
    [
        pytest.param(HOST, 0, Selected(0, "http", "", own_address=False), id="host, by index"),
        pytest.param(HOST, "admin", Selected(1, "admin", "grpc", own_address=False), id="host, by name"),
        pytest.param(HOST, "1", Selected(1, "admin", "grpc", own_address=False), id="an index in words"),
        pytest.param({"ports": [10000, 10001]}, 1, Selected(1, "", "", own_address=False), id="before 0.16"),
        pytest.param(
            {"networks": [{"mode": "container/bridge"}], "container": {"portMappings": MAPPED}},
            1,
            Selected(1, "", "", own_address=False),
            id="bridge",
        ),
        pytest.param(
            {"ports": [1, 2], "container": {"docker": {"network": "BRIDGE", "portMappings": MAPPED}}},
            "http",
            Selected(0, "http", "", own_address=False),
            id="bridge before 1.5",
        ),
        pytest.param(
            {"portDefinitions": [ADMIN], "container": {"docker": {"network": "HOST", "portMappings": MAPPED}}},
            0,
            Selected(0, "admin", "grpc", own_address=False),
            id="host of Docker ignores mappings",
        ),
        pytest.param(
            {**HOST, "container": {"portMappings": MAPPED}},
            "admin",
            Selected(1, "admin", "grpc", own_address=False),
            id="host ignores mappings",
        ),
        pytest.param(
            {"networks": [{"mode": "container", "name": "dcos"}], "container": {"portMappings": INNER}},
            "http",
            Selected(0, "http", "", own_address=True, number=80),
            id="an address of its own",
        ),
        pytest.param(
            {"networks": [{"mode": "container", "name": "dcos"}], "container": {"portMappings": INNER}},
            1,
            Selected(0, "", "", own_address=True, number=0),
            id="a container port that is the host's: the first that is mapped",
        ),
        pytest.param(
            {"container": {"docker": {"network": "USER", "portMappings": [{"containerPort": 80}]}}, "ipAddress": {}},
            0,
            Selected(0, "", "", own_address=True, number=80),
            id="an address of its own before 1.5, with Docker",
        ),
        pytest.param(
            {"ipAddress": {"discovery": {"ports": [{"number": 8080, "name": "http", "protocol": "tcp"}]}}, "ports": []},
            "http",
            Selected(0, "http", "", own_address=True, number=8080),
            id="an address of its own before 1.5",
        ),
    ],
)
def test_the_port_is_found(app: dict[str, object], port: int | str, expected: Selected) -> None:
    assert select(app, Rules(port)) == expected


def test_the_label_goes_before_the_configuration() -> None:
    found = select({**HOST, "labels": {"tieline.port": "admin"}}, Rules("http"))
    assert found is not None
    assert found.name == "admin"


@pytest.mark.parametrize("app", [{}, {"portDefinitions": []}, {"networks": [{"mode": "container"}], "container": None}])
def test_an_app_without_ports_has_none(app: dict[str, object]) -> None:
    assert select(app) is None


@pytest.mark.parametrize(
    ("app", "port", "message"),
    [
        (HOST, 2, "`port` is 2; its ports are 0 http, 1 admin"),
        (HOST, "metrics", "`port` is 'metrics'; its ports are 0 http, 1 admin"),
        ({**HOST, "labels": {"tieline.port": "7"}}, 0, "its label tieline.port is '7'; its ports are 0 http, 1 admin"),
        ({"ports": [1], "labels": {"tieline.port": ""}}, 0, "its label tieline.port is ''; its ports are 0"),
    ],
)
def test_a_port_that_is_not_there_is_told_with_those_that_are(app: Any, port: int | str, message: str) -> None:
    with pytest.raises(NoSuchPort) as raised:
        select(app, Rules(port))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("port", "ports", "expected"),
    [
        (Selected(1, "", "", own_address=False), [31000, 31001], 31001),
        (Selected(1, "", "", own_address=False), [31000], 0),
        (Selected(0, "", "", own_address=True, number=80), [31000], 80),
        (Selected(0, "", "", own_address=True), [31000], 31000),
        (Selected(0, "", "", own_address=False), [0], 0),
        (Selected(0, "", "", own_address=False), [65536], 0),
    ],
)
def test_the_number_of_a_task_s_port(port: Selected, ports: list[int], expected: int) -> None:
    assert task_port(port, ports) == expected
