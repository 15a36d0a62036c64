from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from discovery.address import Endpoint
from discovery.path import Path
from mesh.envoy.names import parse_stream, stream_cluster
from mesh.envoy.streams import CONNECTIONS, Branch, Stream, assignment, cluster, connections, tls_listener
from mesh.policy.resilience import Backoff, Ejection, Retries
from mesh.policy.settings import Settings

A, B, C = (Path(("#", "files", name)) for name in "abc")
EDGE = Stream("edge", "127.0.0.1", 8443)


def at(number: int, zone: str = "") -> Endpoint:
    return Endpoint(f"10.0.0.{number}", 80, zone=zone)


def shown(branches: list[Branch], zone: str = "") -> list[tuple[int, str, int, int]]:
    """Priority, bound name, weight, endpoints of each locality."""
    return [
        (each.priority, each.locality.sub_zone, each.load_balancing_weight.value, len(each.lb_endpoints))
        for each in assignment("db", branches, zone).endpoints
    ]


def test_branches_are_localities_with_weights() -> None:
    found = shown([Branch(A, 3, (at(1), at(2))), Branch(B, 1, (at(3),))])
    assert found == [(0, "/#/files/a", 3, 2), (0, "/#/files/b", 1, 1)]


def test_no_priority_is_left_out_whatever_has_endpoints() -> None:
    """Envoy refuses such an assignment."""
    for one, two, three, four in itertools.product([(), (at(1),)], [(), (at(2, "z"),)], [(), (at(3),)], ["", "z"]):
        found = shown([Branch(A, 1, one, 0), Branch(B, 1, two, 1), Branch(C, 1, three, 2)], four)
        priorities = sorted({priority for priority, *_ in found})
        assert priorities == list(range(len(priorities)))


def test_the_zone_comes_first_within_a_priority() -> None:
    near_and_far = (at(1, "z"), at(2, "y"))
    found = shown([Branch(A, 1, near_and_far, 0), Branch(B, 1, near_and_far, 1)], "z")
    assert [(priority, name) for priority, name, *_ in found] == [
        *((0, "/#/files/a"), (1, "/#/files/a")),
        *((2, "/#/files/b"), (3, "/#/files/b")),
    ]


def test_the_order_of_branches_and_endpoints_does_not_matter() -> None:
    one, other = Branch(A, 1, (at(1), at(2))), Branch(B, 2, (at(3),))
    turned = [other, Branch(A, 1, (at(2), at(1)))]
    assert assignment("db", [one, other]) == assignment("db", turned)


def test_weights_of_localities_hold_in_the_cluster() -> None:
    assert cluster("pg+/svc/db", Path(("svc", "db"))).common_lb_config.HasField("locality_weighted_lb_config")


def test_attempts_go_on_until_the_endpoint_is_ejected_unless_nothing_is_to_be_tried_again() -> None:
    assert CONNECTIONS.attempts == 8
    assert connections(Settings(ejection=None)).attempts == 3
    assert connections(Settings(ejection=Ejection(local_failures=None))).attempts == 3
    assert connections(Settings(retries=Retries(num_retries=0))).attempts == 1
    assert connections(Settings(retries=Retries(conditions=("reset",)))).attempts == 1


def test_a_pause_is_never_shorter_than_envoy_takes() -> None:
    retries = Retries(backoff=Backoff(base=0.0001, max=0.0002))
    assert connections(Settings(retries=retries)).pauses == (0.001, 0.001)


def test_the_chains_of_a_tls_listener_do_not_depend_on_its_names() -> None:
    """So that open connections stay when a name comes or goes."""
    chains = [tls_listener(EDGE, bound, (), timedelta(seconds=6)).filter_chains for bound in ({}, {"a": CONNECTIONS})]
    assert chains[0] == chains[1]
    other = connections(Settings(retries=Retries(num_retries=0)))
    more = tls_listener(EDGE, {"a": other}, (), timedelta(seconds=6)).filter_chains
    assert [each for each in chains[0] if each not in more] == []


@pytest.mark.parametrize(("router", "key"), [("pg", "/svc/db"), ("edge", "users.example.org"), ("a-b_c", "x")])
def test_the_name_of_a_cluster_is_read_back(router: str, key: str) -> None:
    assert parse_stream(stream_cluster(router, key)) == (router, key)


@pytest.mark.parametrize(
    "name", ["/#/files/users", "/#/files/users+policy-12345678", "/#/files/a+grpc", "xds", "/$/nil"]
)
def test_no_other_cluster_is_taken_for_one(name: str) -> None:
    assert parse_stream(name) is None
