from dataclasses import replace

import pytest

from discovery.address import Bound, Health, Neg, Protocol
from discovery.docker.endpoints import Rules, Unclear, addr, endpoint
from discovery.docker.records import Attachment, Container, Port, State

OWN = Rules(published=False, local=True, host_address="127.0.0.1", host="here")
PUBLISHED = Rules(published=True, local=True, host_address="127.0.0.1")
REMOTE = Rules(published=True, local=False, host_address="192.0.2.7")
WEB = Container(
    "1" * 64,
    "web",
    ("shop", "web"),
    State.RUNNING,
    attachments=(Attachment("bridge", "172.17.0.2"), Attachment("shop_front", "172.18.0.2")),
    ports=(Port(80),),
)


def labelled(**labels: str) -> Container:
    return replace(WEB, labels=tuple(sorted((f"tieline.{key}", value) for key, value in labels.items())))


def place(container: Container, rules: Rules) -> tuple[str, int] | None:
    found = endpoint(container, rules)
    return found.key if found else None


def bindings(*published: tuple[str, int]) -> Container:
    return replace(WEB, ports=tuple(Port(80, address, port) for address, port in published))


@pytest.mark.parametrize(
    ("container", "rules", "expected"),
    [
        pytest.param(WEB, OWN, ("172.17.0.2", 80), id="the first network"),
        pytest.param(WEB, replace(OWN, network="shop_front"), ("172.18.0.2", 80), id="the configured network"),
        pytest.param(labelled(network="shop_front"), OWN, ("172.18.0.2", 80), id="the labelled network"),
        pytest.param(labelled(network="front"), OWN, ("172.18.0.2", 80), id="as Compose's file calls it"),
        pytest.param(labelled(network="bridge"), replace(OWN, network="x"), ("172.17.0.2", 80), id="label first"),
        pytest.param(labelled(port="8080"), OWN, ("172.17.0.2", 8080), id="the labelled port"),
        pytest.param(replace(WEB, attachments=()), OWN, None, id="on no network"),
        pytest.param(replace(WEB, shares="host", attachments=()), OWN, ("127.0.0.1", 80), id="the host's network"),
        pytest.param(replace(WEB, shares="host"), REMOTE, ("192.0.2.7", 80), id="a remote host's network"),
        pytest.param(bindings(("0.0.0.0", 32769), ("::", 32768)), PUBLISHED, ("127.0.0.1", 32769), id="published"),
        pytest.param(bindings(("::", 32768)), REMOTE, ("192.0.2.7", 32768), id="published on IPv6"),
        pytest.param(bindings(("127.0.0.1", 32769)), PUBLISHED, ("127.0.0.1", 32769), id="on loopback"),
        pytest.param(bindings(("127.0.0.1", 1), ("0.0.0.0", 2)), REMOTE, ("192.0.2.7", 2), id="not loopback"),
        pytest.param(bindings(("198.51.100.1", 3)), REMOTE, ("198.51.100.1", 3), id="on one address"),
    ],
)
def test_where_a_container_is_called(container: Container, rules: Rules, expected: object) -> None:
    assert place(container, rules) == expected


@pytest.mark.parametrize(
    ("container", "rules", "said"),
    [
        (replace(WEB, ports=()), OWN, "web exposes no TCP port: label it tieline.port"),
        (replace(WEB, ports=(Port(443), Port(80))), OWN, "web exposes 80 and 443: label it tieline.port"),
        (labelled(port="http"), OWN, "the label tieline.port of web is 'http': a port expected"),
        (labelled(port="0"), OWN, "a port expected"),
        (labelled(port="65536"), OWN, "a port expected"),
        (labelled(network="back"), OWN, "web is on bridge and shop_front, not on back"),
        (WEB, replace(OWN, network="mesh"), "web is on bridge and shop_front, not on mesh"),
        (WEB, PUBLISHED, r"port 80 of web is not published where we reach it: publish it \(-p 80\)"),
        (bindings(("127.0.0.1", 32769)), REMOTE, "port 80 of web is not published where we reach it"),
        (labelled(weight="much"), OWN, "the label tieline.weight of web is 'much': a number expected"),
        (labelled(weight="-1"), OWN, "a number expected"),
        (labelled(weight="inf"), OWN, "a number expected"),
        (labelled(protocol="htp"), OWN, "the label tieline.protocol of web is 'htp': http, http2, grpc or tcp"),
    ],
)
def test_what_is_not_clear_says_what_to_do(container: Container, rules: Rules, said: str) -> None:
    with pytest.raises(Unclear, match=said):
        endpoint(container, rules)


@pytest.mark.parametrize(
    ("container", "health"),
    [
        (WEB, Health.UNKNOWN),
        (replace(WEB, health=Health.HEALTHY), Health.HEALTHY),
        (replace(WEB, health=Health.UNHEALTHY), Health.UNHEALTHY),
        (replace(WEB, health=Health.HEALTHY, state=State.PAUSED), Health.UNHEALTHY),
        (replace(WEB, health=Health.UNHEALTHY, draining=True), Health.DRAINING),
    ],
)
def test_health(container: Container, health: Health) -> None:
    found = endpoint(container, OWN)
    assert found is not None
    assert found.health is health


def test_the_labels() -> None:
    found = endpoint(labelled(weight="3", zone="a", protocol="http2", **{"meta.version": "7"}), OWN)
    assert found is not None
    assert (found.weight, found.zone, found.protocol, found.metadata) == (3.0, "a", Protocol.HTTP2, (("version", "7"),))
    assert (found.origin, found.host) == ("web", "here")


def test_a_service_of_which_nothing_runs_exists() -> None:
    stopped = replace(WEB, state=State.STOPPED, ports=())
    assert addr([], OWN) == Neg()
    assert addr([stopped], OWN) == Bound(())
    assert addr([stopped, replace(WEB, id="2" * 64)], OWN) == addr([WEB], OWN)


def test_the_order_of_the_list_does_not_matter() -> None:
    other = replace(WEB, id="2" * 64, name="other", attachments=(Attachment("bridge", "172.17.0.3"),))
    assert addr([WEB, other], OWN) == addr([other, WEB], OWN)
