"""Payloads of dockerd 20.10.24 (API 1.41), recorded and shortened; those of others say whose they are."""

import json

import pytest

from discovery.address import Health
from discovery.docker.reading import Malformed
from discovery.docker.records import (
    Attachment,
    Container,
    Port,
    State,
    inspected,
    listed,
    sharing,
    tells_all,
)

ID = "52937c2a9ab1de47e754a312f7f43585ed4afe231a8d47ac437e9e4dce5d52b4"
LABELS = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users", "tieline.zone": "a"}
BRIDGE = {
    "IPAMConfig": None,
    "NetworkID": "d6f5",
    "Gateway": "10.201.3.1",
    "IPAddress": "10.201.3.3",
    "IPPrefixLen": 24,
}
LISTED = {
    "Id": ID,
    "Names": ["/cc"],
    "Image": "tiny:1",
    "Created": 1795561307,
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 32769, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 32768, "Type": "tcp"},
        {"PrivatePort": 8080, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ],
    "Labels": LABELS,
    "State": "running",
    "Status": "Up 1 second (healthy)",
    "HostConfig": {"NetworkMode": "default"},
    "NetworkSettings": {"Networks": {"bridge": {**BRIDGE, "GlobalIPv6Address": ""}}},
    "Mounts": [],
}
INSPECTED = {
    "Id": ID,
    "Name": "/cc",
    "State": {"Status": "running", "Running": True, "Health": {"Status": "healthy", "FailingStreak": 0, "Log": []}},
    "Config": {"Labels": LABELS, "ExposedPorts": {"80/tcp": {}, "8080/tcp": {}, "53/udp": {}}},
    "HostConfig": {"NetworkMode": "default"},
    "NetworkSettings": {
        "Ports": {
            "53/udp": None,
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32769"}, {"HostIp": "::", "HostPort": "32768"}],
            "8080/tcp": None,
        },
        "Networks": {"bridge": {**BRIDGE, "GlobalIPv6Address": ""}},
    },
}
CONTAINER = Container(
    id=ID,
    name="cc",
    key=("shop", "users"),
    state=State.RUNNING,
    health=Health.HEALTHY,
    labels=(("tieline.zone", "a"),),
    attachments=(Attachment("bridge", "10.201.3.3"),),
    ports=(Port(80, "0.0.0.0", 32769), Port(80, "::", 32768), Port(8080)),
)


def read(*entries: object) -> list[Container]:
    return list(listed(json.dumps(entries)))


def test_the_list_and_the_container_itself_say_the_same() -> None:
    assert read(LISTED) == [CONTAINER]
    assert inspected(INSPECTED) == CONTAINER
    assert tells_all(CONTAINER)


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 minutes", Health.UNKNOWN),
        ("Up 2 minutes (Paused)", Health.UNKNOWN),
        ("Up 2 minutes (healthy)", Health.HEALTHY),
        ("Up 2 minutes (unhealthy)", Health.UNHEALTHY),
        ("Up 3 seconds (health: starting)", Health.UNHEALTHY),
        ("Exited (0) 3 seconds ago", Health.UNKNOWN),
    ],
)
def test_the_status_for_people_tells_health(status: str, health: Health) -> None:
    assert [container.health for container in read({**LISTED, "Status": status})] == [health]


def test_newer_dockers_have_health_in_a_field() -> None:
    entry = {**LISTED, "Status": "Up 2 minutes", "Health": {"Status": "unhealthy", "FailingStreak": 3}}
    assert [container.health for container in read(entry)] == [Health.UNHEALTHY]


@pytest.mark.parametrize("state", ["created", "restarting", "exited", "dead", "removing", "configured", "new in 2030"])
def test_what_does_not_run_is_stopped(state: str) -> None:
    assert [container.state for container in read({**LISTED, "State": state})] == [State.STOPPED]


def test_podman_says_when_a_container_is_stopping() -> None:
    assert [(each.state, each.draining) for each in read({**LISTED, "State": "stopping"})] == [(State.RUNNING, True)]


def test_containers_of_no_service_are_left_away() -> None:
    assert read({**LISTED, "Labels": {"a": "b"}}, LISTED, {**LISTED, "Labels": None}) == [CONTAINER]
    assert inspected({**INSPECTED, "Config": {"Labels": None}}) is None


def test_an_alias_of_a_link_is_no_name() -> None:
    assert [container.name for container in read({**LISTED, "Names": ["/aa/cc", "/cc"]})] == ["cc"]
    assert [container.name for container in read({**LISTED, "Names": None})] == [ID[:12]]


def test_networks_come_with_dockers_own_first_and_without_those_that_gave_no_address() -> None:
    networks = {"z": {"IPAddress": "10.1.0.1"}, "a": {"IPAddress": "", "GlobalIPv6Address": "fd00::1"}}
    entry = {"Networks": {**networks, "none": {"IPAddress": ""}, "gone": None, "bridge": BRIDGE}}
    (container,) = read({**LISTED, "NetworkSettings": entry})
    assert [(each.network, each.address) for each in container.attachments] == [
        ("bridge", "10.201.3.3"),
        ("a", "fd00::1"),
        ("z", "10.1.0.1"),
    ]


@pytest.mark.parametrize(
    ("change", "enough"),
    [
        pytest.param({"NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}, "Ports": []}, False, id="host"),
        pytest.param({"NetworkSettings": {"Networks": {}}, "Ports": []}, False, id="of another container"),
        pytest.param({"Ports": []}, False, id="macvlan"),
        pytest.param({"Ports": [], "Labels": {**LABELS, "tieline.port": "1"}}, True, id="macvlan with a label"),
        pytest.param({"Ports": [], "State": "exited"}, True, id="stopped"),
    ],
)
def test_the_list_does_not_always_tell_all(change: dict[str, object], enough: bool) -> None:
    (container,) = read({**LISTED, **change})
    assert tells_all(container) is enough


@pytest.mark.parametrize(
    ("said", "number"),
    [(None, 15), ("", 15), ("SIGQUIT", 3), ("quit", 3), ("28", 28), (28, 28), ("SIGRTMIN+3", 37), ("SIGWHAT", 15)],
)
def test_the_stop_signal_by_name_and_number(said: object, number: int) -> None:
    found = inspected({**INSPECTED, "Config": {**INSPECTED["Config"], "StopSignal": said}})  # type: ignore[dict-item]
    assert found is not None
    assert found.stop_signal == number


def test_a_container_on_the_network_of_another_is_at_the_others_address() -> None:
    mode = {"HostConfig": {"NetworkMode": "container:abc"}, "NetworkSettings": {"Ports": {}, "Networks": {}}}
    config = {"Labels": LABELS, "ExposedPorts": {"80/tcp": {}, "9000/tcp": {}}}
    sidecar = inspected({**INSPECTED, **mode, "Config": config})
    assert sidecar is not None
    assert (sidecar.shares, sidecar.attachments) == ("abc", ())
    found = sharing(sidecar, INSPECTED)
    assert found.attachments == CONTAINER.attachments
    assert set(found.ports) == {Port(9000), Port(80, "0.0.0.0", 32769), Port(80, "::", 32768)}
    assert sharing(sidecar, {**INSPECTED, "HostConfig": {"NetworkMode": "host"}}).shares == "host"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"State": None}, "State: Input should be a valid dictionary"),
        ({"NetworkSettings": {"Ports": {"web/tcp": None}}}, "a port expected, not 'web'"),
        ({"NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0"}}}}, "an IP address expected, not '10.0.0'"),
        ({"NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "x", "HostPort": "1"}]}}}, "an IP address expected"),
        ({"NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "", "HostPort": "x"}]}}}, "a port expected, not 'x'"),
    ],
)
def test_a_container_that_makes_no_sense_is_told_with_its_place(change: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed, match=said):
        inspected({**INSPECTED, **change})


def test_an_entry_that_makes_no_sense_is_told_with_its_place() -> None:
    with pytest.raises(Malformed, match=r"\[1\].State: Input should be a valid string"):
        read(LISTED, {**LISTED, "State": 3})
    with pytest.raises(Malformed, match=r"\[0\].Ports.0.PrivatePort: Input should be a valid integer"):
        read({**LISTED, "Ports": [{"PrivatePort": "80", "Type": "tcp"}]})
