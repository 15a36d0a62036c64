from __future__ import annotations

from dataclasses import replace

import pytest

from discovery.address import Endpoint, Health
from discovery.ecs.endpoints import Details, Machine, NoSuchPort, addr, port
from discovery.ecs.records import Binding, Container, Definition, Mode, Port, Task
from discovery.source import Misconfigured, Unavailable

WEB, ADMIN, SIDE = Port("web", 8080, "http"), Port("web", 8081, "admin"), Port("side", 9901)
TASK = Task(
    id="a",
    service="users",
    definition="d",
    launch_type="EC2",
    zone="eu-west-1a",
    instance="arn:aws:ecs:r:1:container-instance/prod/ci",
    running=True,
    draining=False,
    health=Health.HEALTHY,
    connected=True,
    version=1,
    address="10.0.0.1",
    containers=(Container("web", True, (Binding(8080, 32768), Binding(9000, 40000, 10))), Container("side", True)),
)


def definition(*ports: Port, mode: Mode = Mode.AWSVPC, label: str = "") -> Definition:
    return Definition("users:1", mode, ("web", "side"), ports, label)


def only(task: Task, of: Definition, wanted: str = "", machine: Machine | None = None) -> Endpoint:
    (endpoint,) = addr(
        [task], wanted, "", Details({"d": of}, {task.instance: machine or Machine("i-1", "10.1.0.1")})
    ).endpoints
    return endpoint


@pytest.mark.parametrize(
    ("wanted", "default", "label", "number"),
    [
        ("8081", "", "", 8081),
        ("admin", "", "", 8081),
        ("side", "", "", 9901),
        ("7777", "", "", 7777),
        ("", "http", "", 8080),
        ("", "http", "side", 9901),
        ("", "", "8081", 8081),
        ("http", "side", "8081", 8080),
    ],
)
def test_a_port_is_chosen_by_name_then_by_label_then_by_configuration(
    wanted: str, default: str, label: str, number: int
) -> None:
    assert port(definition(WEB, ADMIN, SIDE, label=label), wanted, default).number == number


def test_the_only_port_needs_no_name() -> None:
    assert port(definition(SIDE), "", "http") == SIDE


@pytest.mark.parametrize(
    ("ports", "wanted", "message"),
    [
        ((WEB, SIDE), "", r"several ports, say which.*8080 \(http\), 9901 \(side\)"),
        ((), "", "maps no port"),
        ((WEB, SIDE), "grpc", "no port called 'grpc'; there are: 8080"),
        ((WEB, ADMIN), "web", "several ports called 'web'"),
        ((WEB,), "70000", "70000 is no port"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_there_is(ports: tuple[Port, ...], wanted: str, message: str) -> None:
    with pytest.raises(NoSuchPort, match=message):
        port(definition(*ports), wanted, "")


def test_a_range_of_ports_is_bound_to_a_range() -> None:
    assert only(TASK, definition(WEB, mode=Mode.BRIDGE), "9003").key == ("10.1.0.1", 40003)
    with pytest.raises(NoSuchPort, match="maps no port 9010"):
        only(TASK, definition(WEB, mode=Mode.BRIDGE), "9010")


def test_a_task_that_runs_without_what_it_takes_to_reach_it_is_an_error_and_not_left_out() -> None:
    with pytest.raises(Unavailable, match="not at which address"):
        only(replace(TASK, address=""), definition(WEB))
    with pytest.raises(Unavailable, match="not where its port 9901 is bound"):
        only(TASK, definition(SIDE, mode=Mode.BRIDGE))
    with pytest.raises(Misconfigured, match="network mode none"):
        only(replace(TASK, address="", instance=""), definition(WEB, mode=Mode.NONE))
    with pytest.raises(Misconfigured, match="can't be reached: nobody knows"):
        only(TASK, definition(WEB, mode=Mode.HOST), machine=Machine("i-1", why="nobody knows"))


def test_a_container_that_has_ended_takes_its_port_with_it() -> None:
    ended = replace(TASK, containers=(Container("web", False), Container("side", True)))
    details = Details({"d": definition(WEB, SIDE)}, {})
    assert addr([ended], "http", "", details).endpoints == ()
    assert len(addr([ended], "side", "", details).endpoints) == 1


def test_while_a_service_is_updated_tasks_without_the_port_are_left_out() -> None:
    details = Details({"d": definition(WEB), "new": definition(ADMIN)}, {})
    new = replace(TASK, id="b", definition="new", address="10.0.0.2")
    assert [each.key for each in addr([TASK, new], "admin", "", details).endpoints] == [("10.0.0.2", 8081)]
    with pytest.raises(NoSuchPort):
        addr([TASK], "admin", "", details)


@pytest.mark.parametrize(
    ("task", "health"),
    [
        (TASK, Health.HEALTHY),
        (replace(TASK, connected=False), Health.UNKNOWN),
        (replace(TASK, connected=False, health=Health.UNHEALTHY), Health.UNHEALTHY),
        (replace(TASK, health=None), Health.UNKNOWN),
        (replace(TASK, draining=True, health=Health.UNHEALTHY), Health.DRAINING),
    ],
)
def test_health_is_that_of_the_task_unless_it_drains_or_nobody_can_know(task: Task, health: Health) -> None:
    assert only(task, definition(WEB)).health is health


def test_the_host_of_an_awsvpc_task_is_its_container_instance() -> None:
    assert only(TASK, definition(WEB)).host == "ci"
    assert only(TASK, definition(WEB, mode=Mode.HOST)).host == "i-1"
    assert only(replace(TASK, instance=""), definition(WEB)).host == "a"
