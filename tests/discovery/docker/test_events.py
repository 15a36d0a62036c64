"""Events as dockerd 20.10.24 and Podman's compat handler send them."""

import json
from dataclasses import replace

import pytest

from discovery.address import Health
from discovery.docker.events import Event, Kind, after, ends, event
from discovery.docker.reading import Malformed
from discovery.docker.records import Container, State

ID = "0fd1538f481fe0359a300d7c9c83d289040d92f10988eabd14c9d09d167661d6"
RUNNING = Container(ID, "aa", ("-", "web"), State.RUNNING, Health.HEALTHY)


def told(kind: str, action: str, attributes: dict[str, str] | None = None, *, id: str = ID, **more: object) -> bytes:
    return json.dumps({"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, **more}).encode()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (told("container", "start", {"tieline.service": "web"}), Event(ID, Kind.ASK, named=True)),
        (told("container", "start", {"image": "tiny:1"}), Event(ID, Kind.ASK)),
        (told("container", "die", {"exitCode": "0"}), Event(ID, Kind.DIED)),
        (told("container", "died"), Event(ID, Kind.DIED)),
        (told("container", "destroy"), Event(ID, Kind.GONE)),
        (told("container", "remove"), Event(ID, Kind.GONE)),
        (told("container", "kill", {"signal": "15"}), Event(ID, Kind.SIGNAL, "15")),
        (told("container", "health_status: unhealthy"), Event(ID, Kind.HEALTH, "unhealthy")),
        (told("container", "health_status", HealthStatus="healthy"), Event(ID, Kind.HEALTH, "healthy")),
        (told("network", "connect", {"container": ID, "name": "bridge"}, id="d6f5"), Event(ID, Kind.CONNECTED)),
        (told("network", "disconnect", {"network": "podman"}), Event(ID, Kind.CONNECTED)),
        (told("network", "create", {"name": "front"}), None),
        (told("container", "exec_create: /bin/sh -c true"), None),
        (told("image", "destroy"), None),
    ],
)
def test_what_is_told(line: bytes, found: Event | None) -> None:
    assert event(line) == found


@pytest.mark.parametrize(
    ("line", "said"),
    [(b"what", "Invalid JSON"), (b"{}", "Type: Field required"), (told("container", "die", id=3), "Actor.ID")],  # type: ignore[arg-type]
)
def test_what_makes_no_sense(line: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        event(line)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.DIED, "", replace(RUNNING, state=State.STOPPED, health=Health.UNKNOWN)),
        (Kind.PAUSED, "", replace(RUNNING, state=State.PAUSED)),
        (Kind.RESUMED, "", RUNNING),
        (Kind.HEALTH, "unhealthy", replace(RUNNING, health=Health.UNHEALTHY)),
        (Kind.HEALTH, "starting", replace(RUNNING, health=Health.UNHEALTHY)),
        (Kind.SIGNAL, "15", replace(RUNNING, draining=True)),
        (Kind.SIGNAL, "9", replace(RUNNING, draining=True)),
        (Kind.HEALTH, "", None),
        (Kind.SIGNAL, "1", None),
        (Kind.SIGNAL, "", None),
        (Kind.ASK, "", None),
        (Kind.CONNECTED, "", None),
    ],
)
def test_what_an_event_says_is_believed_and_the_rest_is_asked(
    kind: Kind, value: str, expected: Container | None
) -> None:
    assert after(RUNNING, Event(ID, kind, value)) == expected


@pytest.mark.parametrize("kind", [Kind.PAUSED, Kind.RESUMED, Kind.HEALTH, Kind.ASK])
def test_what_can_only_happen_to_a_running_container_makes_a_stopped_one_doubtful(kind: Kind) -> None:
    assert after(replace(RUNNING, state=State.STOPPED), Event(ID, kind, "healthy")) is None


def test_the_networks_of_a_stopped_container_are_not_asked_about() -> None:
    stopped = replace(RUNNING, state=State.STOPPED)
    assert after(stopped, Event(ID, Kind.CONNECTED)) == stopped


@pytest.mark.parametrize(
    ("value", "own", "expected"), [("15", 28, True), ("28", 28, True), ("1", 28, False), ("", 28, False)]
)
def test_which_signals_end_a_container(value: str, own: int, expected: bool) -> None:
    assert ends(replace(RUNNING, stop_signal=own), Event(ID, Kind.SIGNAL, value)) is expected
