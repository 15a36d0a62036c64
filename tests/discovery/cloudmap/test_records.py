from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Bound, Endpoint, Health, Protocol
from discovery.cloudmap import records
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable

USERS = Path(("prod", "users"))

# Of DiscoverInstances, as AWS answers for a service that ECS registers (service discovery, awsvpc, SRV).
BY_ECS = """
{"Instances": [{
  "InstanceId": "1f8c2d0e4b7a4d6fa5c1b2e3d4f50617", "NamespaceName": "prod", "ServiceName": "users",
  "HealthStatus": "HEALTHY",
  "Attributes": {
    "AVAILABILITY_ZONE": "eu-west-1b", "AWS_INIT_HEALTH_STATUS": "HEALTHY", "AWS_INSTANCE_IPV4": "10.0.3.17",
    "AWS_INSTANCE_PORT": "8080", "ECS_CLUSTER_NAME": "main", "ECS_SERVICE_NAME": "users",
    "ECS_TASK_DEFINITION_FAMILY": "users", "EC2_INSTANCE_ID": "i-0a1b2c3d4e5f60718", "REGION": "eu-west-1"
  }
}], "InstancesRevision": 1732489330000}
"""


def read(*instances: dict[str, object], port: int | None = None) -> tuple[Endpoint, ...]:
    return records.discovered({"Instances": list(instances), "InstancesRevision": 1}, USERS, port).endpoints


def instance(number: str = "a", status: str | None = None, **attributes: str) -> dict[str, object]:
    address = {} if {"AWS_INSTANCE_IPV6", "AWS_INSTANCE_CNAME"} & set(attributes) else {"AWS_INSTANCE_IPV4": "10.0.0.1"}
    health = {} if status is None else {"HealthStatus": status}
    return {"InstanceId": number, "Attributes": {**address, "AWS_INSTANCE_PORT": "80", **attributes}, **health}


def only(number: str = "a", status: str | None = None, **attributes: str) -> Endpoint:
    [endpoint] = read(instance(number, status, **attributes))
    return endpoint


def test_an_instance_that_ecs_registered_becomes_an_endpoint() -> None:
    found = records.discovered(json.loads(BY_ECS), USERS, None)
    assert found.revision == 1732489330000
    assert found.endpoints == (
        Endpoint(
            address="10.0.3.17",
            port=8080,
            zone="eu-west-1b",
            health=Health.HEALTHY,
            host="i-0a1b2c3d4e5f60718",
            metadata=(
                ("AVAILABILITY_ZONE", "eu-west-1b"),
                ("EC2_INSTANCE_ID", "i-0a1b2c3d4e5f60718"),
                ("ECS_CLUSTER_NAME", "main"),
                ("ECS_SERVICE_NAME", "users"),
                ("ECS_TASK_DEFINITION_FAMILY", "users"),
                ("REGION", "eu-west-1"),
            ),
            origin="1f8c2d0e4b7a4d6fa5c1b2e3d4f50617",
        ),
    )


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("HEALTHY", Health.HEALTHY),
        ("UNHEALTHY", Health.UNHEALTHY),
        ("UNKNOWN", Health.UNKNOWN),
        ("of tomorrow", Health.UNKNOWN),
        (None, Health.UNKNOWN),
    ],
)
def test_health_is_what_cloud_map_says(status: str | None, health: Health) -> None:
    assert only(status=status).health is health


def test_custom_attributes_come_along_and_some_mean_something() -> None:
    endpoint = only(weight="2.5", protocol="GRPC", version="7", AWS_EC2_INSTANCE_ID="i-1")
    assert (endpoint.weight, endpoint.protocol, endpoint.host) == (2.5, Protocol.GRPC, "i-1")
    assert endpoint.metadata == (("protocol", "GRPC"), ("version", "7"), ("weight", "2.5"))
    assert only(protocol="of tomorrow").protocol is None


def test_an_instance_with_both_kinds_of_address_is_called_by_the_older() -> None:
    assert only(AWS_INSTANCE_IPV6="2001:db8::1").address == "2001:db8::1"
    assert only(AWS_INSTANCE_IPV6="2001:db8::1", AWS_INSTANCE_IPV4="10.0.0.7").address == "10.0.0.7"


def test_a_port_is_the_instances_own_before_the_configured_one() -> None:
    portless = {"InstanceId": "b", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.2"}}
    assert [endpoint.port for endpoint in read(instance(), portless, port=81)] == [80, 81]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"AWS_INSTANCE_IPV4": "10.0.0.1"}, "instance a of /prod/users has no port"),
        ({"AWS_INSTANCE_PORT": "80"}, "has no address"),
        ({}, "has no address"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.300", "AWS_INSTANCE_PORT": "80"}, "an IP address expected"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "0"}, "a port expected"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "http"}, "a port expected"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "weight": "-1"}, "0 or more expected"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "weight": "nan"}, "0 or more expected"),
        ({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "weight": "much"}, "0 or more expected"),
    ],
)
def test_an_instance_that_cannot_be_called_is_named_and_not_left_out(attributes: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        read(instance("z"), {"InstanceId": "a", "Attributes": attributes})
    assert says in str(raised.value)


def test_of_several_mistakes_always_the_same_one_is_told() -> None:
    wrong: list[dict[str, object]] = [{"InstanceId": number} for number in "ba"]
    said = set()
    for each in (wrong, wrong[::-1]):
        with pytest.raises(Misconfigured) as raised:
            read(*each)
        said.add(str(raised.value))
    assert len(said) == 1


def test_the_order_of_the_answer_does_not_matter() -> None:
    one, other = instance("a"), instance("b", weight="3")
    assert records.addr(read(one, other), {}) == records.addr(read(other, one), {})


def test_the_addresses_of_a_host_name_share_its_weight() -> None:
    found = read(instance("a"), instance("b", AWS_INSTANCE_CNAME="db.example", weight="4"))
    assert records.unresolved(found) == {"db.example"}
    addr = records.addr(found, {"db.example": ("10.0.1.1", "10.0.1.2")})
    assert [(each.address, each.weight) for each in addr.endpoints] == [
        ("10.0.0.1", 1.0),
        ("10.0.1.1", 2.0),
        ("10.0.1.2", 2.0),
    ]
    assert records.addr(found[1:], {"db.example": ()}) == Bound()


def test_a_load_balancers_name_is_a_host_name() -> None:
    balancer: dict[str, object] = {"InstanceId": "a", "Attributes": {"AWS_ALIAS_DNS_NAME": "lb-1.elb.example"}}
    assert records.unresolved(read(balancer, port=443)) == {"lb-1.elb.example"}


@pytest.mark.parametrize(
    ("namespace", "service", "exists"),
    [
        ("prod", "users", True),
        ("example.com", "a.b-c_d", True),
        ("prod", "a", True),
        ("prod", "a" * 63, True),
        ("prod", "a" * 64, False),
        ("prod", "-a", False),
        ("prod", "a/b", False),
        ("prod", "ü", False),
        ("prod", ".".join(["a" * 60] * 3), False),
        ("a b", "users", False),
        ("arn:aws:servicediscovery", "users", False),
    ],
)
def test_names_are_those_that_cloud_map_allows(namespace: str, service: str, exists: bool) -> None:
    assert records.could_exist(Path((namespace, service))) is exists


def test_a_namespace_is_known_by_the_name_that_it_is_discovered_by() -> None:
    page = {
        "Namespaces": [
            {"Id": "ns-1", "Name": "prod", "Properties": {"HttpProperties": {"HttpName": "prod-x1"}}},
            {"Id": "ns-2", "Name": "test"},
        ]
    }
    assert records.namespaces(page) == [("ns-1", "prod-x1"), ("ns-2", "test")]
    assert records.services({"Services": [{"Name": "users", "Type": "HTTP"}]}) == ["users"]


@pytest.mark.parametrize("page", [{}, {"Namespaces": None}, {"Namespaces": [{"Id": "ns-1"}]}])
def test_a_list_that_makes_no_sense_is_unavailable(page: dict[str, object]) -> None:
    with pytest.raises(Unavailable, match="ListNamespaces makes no sense: Namespaces"):
        records.namespaces(page)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["AWS_INSTANCE_IPV4", "AWS_INSTANCE_PORT", "AWS_INSTANCE_CNAME", "weight", "protocol"]),
    st.text(max_size=8) | st.sampled_from(["10.0.0.1", "80"]),
)
INSTANCES = st.lists(st.fixed_dictionaries({"InstanceId": st.text(max_size=3), "Attributes": ATTRIBUTES | ANYTHING}))


@given(st.fixed_dictionaries({"Instances": INSTANCES | ANYTHING, "InstancesRevision": st.integers() | ANYTHING}))
def test_no_answer_breaks_the_parser(answer: dict[str, object]) -> None:
    try:
        found = records.discovered(answer, USERS, None)
    except SourceError:
        return
    assert all(0 < each.port < 65536 and 0 <= each.weight < math.inf for each in found.endpoints)
