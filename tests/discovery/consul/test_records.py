import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Addr, Bound, Endpoint, Health, Neg, Protocol
from discovery.consul import records
from discovery.consul.records import Malformed, Rules
from tests.discovery.contract import ONE, THREE, TWO
from tests.fakes.consul import instance

STRICT = Rules()


def read(*listed: object, rules: Rules = STRICT) -> Addr:
    return records.addr(records.records(records.instances(json.dumps(listed).encode()), rules), {})


def only(*listed: object, rules: Rules = STRICT) -> Endpoint:
    addr = read(*listed, rules=rules)
    assert isinstance(addr, Bound)
    (endpoint,) = addr.endpoints
    return endpoint


def test_an_instance_becomes_an_endpoint() -> None:
    meta = {"zone": "a", "protocol": "grpc"}
    assert only(instance("10.0.0.1", 80, Meta=meta, Weights={"Passing": 9, "Warning": 1})) == Endpoint(
        address="10.0.0.1",
        port=80,
        weight=9.0,
        zone="a",
        health=Health.HEALTHY,
        host="node-10.0.0.1",
        protocol=Protocol.GRPC,
        metadata=(("protocol", "grpc"), ("zone", "a")),
        origin="10.0.0.1:80 on node-10.0.0.1",
    )


def test_nothing_listed_is_no_such_name_and_nothing_passing_is_an_empty_one() -> None:
    assert read() == Neg()
    assert read(instance("10.0.0.1", 80, status="critical")) == Bound()


@pytest.mark.parametrize(
    ("statuses", "strict", "lenient"),
    [
        ([], 9, 9),
        (["passing", "passing"], 9, 9),
        (["passing", "warning"], None, 3),
        (["warning", "critical"], None, None),
        (["passing", "maintenance"], None, None),
        (["a status of tomorrow"], None, None),
    ],
)
def test_an_instance_is_as_well_as_its_worst_check(
    statuses: list[str], strict: float | None, lenient: float | None
) -> None:
    listed = instance("10.0.0.1", 80, Weights={"Passing": 9, "Warning": 3})
    listed["Checks"] = [{"CheckID": str(number), "Status": status} for number, status in enumerate(statuses)]

    def weight(rules: Rules) -> float | None:
        addr = read(listed, rules=rules)
        return addr.endpoints[0].weight if isinstance(addr, Bound) and addr.endpoints else None

    assert (weight(Rules()), weight(Rules(warning=True))) == (strict, lenient)


def test_a_warning_weight_of_zero_gets_no_traffic() -> None:
    listed = instance("10.0.0.1", 80, status="warning", Weights={"Passing": 1, "Warning": 0})
    assert read(listed, rules=Rules(warning=True)) == Bound()


def test_the_address_of_the_service_comes_before_its_nodes() -> None:
    assert only(instance("10.0.0.1", 80)).address == "10.0.0.1"
    assert only(instance("", 80)).address == "192.0.2.1"


def test_a_tagged_address_is_preferred_where_there_is_one() -> None:
    tagged = {"wan": {"Address": "198.51.100.1", "Port": 8443}}
    wan = Rules(tagged_address="wan")
    assert only(instance("10.0.0.1", 80, TaggedAddresses=tagged), rules=wan).key == ("198.51.100.1", 8443)
    assert only(instance("10.0.0.1", 80), rules=wan).key == ("10.0.0.1", 80)
    on_node = instance("", 80)
    on_node["Node"] = {"Node": "n", "Address": "192.0.2.1", "TaggedAddresses": {"wan": "198.51.100.2"}}
    assert only(on_node, rules=wan).key == ("198.51.100.2", 80)


def test_the_zone_may_come_from_the_node() -> None:
    listed = instance("10.0.0.1", 80)
    listed["Node"] = {"Node": "n", "Address": "192.0.2.1", "Meta": {"zone": "b", "az": "c"}}
    assert only(listed).zone == "b"
    assert only(listed, rules=Rules(zone_meta="az")).zone == "c"


def test_an_instance_without_a_port_is_known_and_not_callable() -> None:
    assert read(instance("10.0.0.1", 0)) == Bound()


def test_a_tag_chooses_instances_whatever_its_letters_as_in_consul() -> None:
    body = json.dumps([instance(*ONE, Tags=["Blue", "x"]), instance(*TWO, Tags=None), instance(*THREE)]).encode()
    found = records.records(records.instances(body), Rules(tags=True))
    assert records.addr(records.tagged(found, "bluE"), {}) == read(instance(*ONE))
    assert records.addr(records.tagged(found, "red"), {}) == Neg()
    sick = records.records(
        records.instances(json.dumps([instance(*ONE, status="critical", Tags=["b"])]).encode()), Rules(tags=True)
    )
    assert records.addr(records.tagged(sick, "b"), {}) == Bound()


def test_the_order_of_the_list_does_not_matter() -> None:
    first, second = instance("10.0.0.1", 80), instance("10.0.0.2", 80)
    assert read(first, second) == read(second, first)


def test_host_names_are_replaced_by_all_their_addresses() -> None:
    body = json.dumps([instance("db.example", 80), instance("10.0.0.9", 80)]).encode()
    found = records.records(records.instances(body), Rules())
    assert records.unresolved(found) == {"db.example"}
    addr = records.addr(found, {"db.example": ("10.0.0.1", "10.0.0.2")})
    assert isinstance(addr, Bound)
    assert [endpoint.address for endpoint in addr.endpoints] == ["10.0.0.1", "10.0.0.2", "10.0.0.9"]
    assert {endpoint.host for endpoint in addr.endpoints} == {"node-db.example", "node-10.0.0.9"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "EOF"),
        (b"<html>", "expected value"),
        (b'[{"Node": {"Node": "n"', "EOF"),
        (b"null", "valid array"),
        (b"{}", "valid array"),
        (b"[{}]", "0.Node: Field required"),
        (json.dumps([instance("10.0.0.1", 80, Port="80")]).encode(), "0.Service.Port: Input should be a valid integer"),
        (json.dumps([instance("10.0.0.1", 80, Meta={"a": 1})]).encode(), "0.Service.Meta.a"),
    ],
)
def test_what_is_no_answer_of_consul_is_named(body: bytes, where: str) -> None:
    with pytest.raises(Malformed) as raised:
        records.instances(body)
    assert where in str(raised.value)


@given(st.binary())
def test_no_body_breaks_the_parser(body: bytes) -> None:
    try:
        records.instances(body)
    except Malformed:
        return
    assert json.loads(body) == []


def test_the_catalogue_is_read() -> None:
    assert records.service_tags(b'{"consul": [], "web": ["a", "b"], "old": null}') == {
        "consul": [],
        "web": ["a", "b"],
        "old": None,
    }
    assert records.names(b'["dc1", "dc2"]') == ["dc1", "dc2"]
