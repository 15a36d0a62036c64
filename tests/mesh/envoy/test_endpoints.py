from __future__ import annotations

import random

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Endpoint, Health
from discovery.path import Path
from mesh.envoy.endpoints import METADATA, assignment, integer_weights, invalid

NAME = Path.parse("/#/static/users")


def test_an_assignment_says_address_weight_health_zone_and_what_is_known() -> None:
    endpoint = Endpoint(
        "10.0.0.1", 80, 3, "a", Health.DRAINING, "vm-1", identity="spiffe://x", metadata=(("tag", "v2"),)
    )
    (locality,) = assignment(NAME, [endpoint]).endpoints
    assert MessageToDict(locality) == {
        "locality": {"zone": "a"},
        "lbEndpoints": [
            {
                "endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}},
                "healthStatus": "DRAINING",
                "loadBalancingWeight": 3,
                "metadata": {
                    "filterMetadata": {METADATA: {"host": "vm-1", "identity": "spiffe://x", "tag": "v2"}},
                },
            }
        ],
    }


def test_no_endpoints_are_an_empty_assignment() -> None:
    found = assignment(NAME, [])
    assert found.cluster_name == "/#/static/users"
    assert not found.endpoints


def test_the_order_they_are_listed_in_does_not_matter() -> None:
    listed = [Endpoint(f"10.0.0.{number}", 80, zone=str(number % 3), weight=number / 7) for number in range(1, 30)]
    expected = assignment(NAME, listed).SerializeToString(deterministic=True)
    chance = random.Random(1)
    for _ in range(100):
        chance.shuffle(listed)
        assert assignment(NAME, listed).SerializeToString(deterministic=True) == expected


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (Endpoint("localhost", 80), "address 'localhost' is not an IP literal"),
        (Endpoint("10.0.0.256", 80), "address '10.0.0.256' is not an IP literal"),
        (Endpoint("fe80::1%eth0", 80), "address 'fe80::1%eth0' has a zone index, which Envoy does not resolve here"),
        (Endpoint("10.0.0.1", 0), "port 0 is not in 1..65535"),
        (Endpoint("10.0.0.1", 65536), "port 65536 is not in 1..65535"),
        (Endpoint("10.0.0.1", 80, weight=float("nan")), "weight nan is not a number of at least 0"),
        (Endpoint("10.0.0.1", 80, weight=-1), "weight -1 is not a number of at least 0"),
    ],
)
def test_what_envoy_would_refuse_is_left_out_and_said(endpoint: Endpoint, reason: str) -> None:
    good = Endpoint("::1", 80)
    assert [(each.endpoint, each.reason) for each in invalid([endpoint, good])] == [(endpoint, reason)]
    (locality,) = assignment(NAME, [endpoint, good]).endpoints
    assert [each.endpoint.address.socket_address.address for each in locality.lb_endpoints] == ["::1"]


def test_an_endpoint_of_weight_0_gets_nothing() -> None:
    assert not assignment(NAME, [Endpoint("10.0.0.1", 80, weight=0)]).endpoints
    assert invalid([Endpoint("10.0.0.1", 80, weight=0)]) == ()


@pytest.mark.parametrize(
    ("weights", "integers"),
    [
        ([1.0, 1.0], [1, 1]),
        ([9, 1], [9, 1]),
        ([0.5, 1.0], [5000, 10000]),
        ([1e-9, 1.0], [1, 10000]),
        ([1e300, 1.0], [10000, 1]),
        ([], []),
    ],
)
def test_weights_become_integers(weights: list[float], integers: list[int]) -> None:
    assert integer_weights(weights) == integers


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), max_size=50))
def test_integer_weights_are_what_envoy_takes(weights: list[float]) -> None:
    found = integer_weights(weights)
    assert all(weight >= 1 for weight in found)
    assert sum(found) < 2**32


@given(st.text(st.characters()), st.text(st.characters()))
def test_text_that_is_no_unicode_does_no_harm(zone: str, value: str) -> None:
    endpoint = Endpoint("10.0.0.1", 80, zone=zone, metadata=((value or "k", value),))
    assert assignment(NAME, [endpoint]).SerializeToString()
