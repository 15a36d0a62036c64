from __future__ import annotations

import json
import random

import pytest

from discovery.address import Bound, Endpoint, Failed, Health, Known, Neg, Pending, State
from discovery.path import Path
from mesh.control.api.namerd_json import addr, addr_of, bound_tree, dentries, drawn, read_dentries, with_addresses
from mesh.naming.bind import Broken, Waiting
from mesh.naming.dtab import parse_dtab
from mesh.naming.tree import Alt, BoundName, Leaf, Union, Weighted
from mesh.naming.tree import Empty as EmptyTree

USERS = Path.parse("/#/files/users")


def of(state: State) -> dict[str, object]:
    return addr(state)


def test_a_table_goes_through_json_and_back() -> None:
    dtab = parse_dtab("/tshirt => /suit ; /a/*/b => 9 * /c & 1 * /d | ~ | !")
    said = dentries(dtab)
    assert said[0] == {"prefix": "/tshirt", "dst": "/suit"}
    assert read_dentries(json.dumps(said).encode()) == dtab


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Pending(), {"type": "pending"}),
        (Failed("no"), {"type": "failed", "cause": "no"}),
        (Known(Neg(), 0, 0), {"type": "neg"}),
        (Known(Bound(), 0, 0), {"type": "bound", "addrs": [], "meta": {}}),
    ],
)
def test_an_address_is_of_one_of_four_types(state: State, said: dict[str, object]) -> None:
    assert of(state) == said


def test_weight_and_host_are_metadata_and_who_gets_no_traffic_is_left_out() -> None:
    endpoints = (
        Endpoint("10.0.0.1", 80, weight=2.5, host="host7"),
        Endpoint("10.0.0.2", 80, health=Health.DRAINING),
        Endpoint("10.0.0.3", 80, host="10.0.0.3"),
    )
    addrs = of(Known(Bound(endpoints), 0, 0, held="old"))["addrs"]
    assert addrs == [
        {"ip": "10.0.0.1", "port": 80, "meta": {"endpoint_addr_weight": 2.5, "nodeName": "host7"}},
        {"ip": "10.0.0.3", "port": 80, "meta": {}},
    ]


def pending(_path: Path) -> State:
    return Pending()


def test_what_could_not_be_bound_is_an_exception_with_its_reason() -> None:
    for tree in (Broken("max_depth", "deep"), Waiting(frozenset(), "deep")):
        assert bound_tree(tree, pending) == {"type": "exception", "message": "deep"}
        assert addr_of(tree, USERS, pending) == {"type": "failed", "cause": "deep"}


def test_what_stands_by_is_an_alternative() -> None:
    leaf = Leaf(BoundName(USERS, Path(("x",))))
    said = bound_tree(Alt((leaf, EmptyTree())), pending)
    bound = {"addr": {"type": "pending"}, "id": "/#/files/users", "path": "/x"}
    assert said == {"type": "alt", "alt": [{"type": "leaf", "bound": bound}, {"type": "empty"}]}


def test_a_draw_goes_by_weight_and_passes_over_what_leads_nowhere() -> None:
    one, other = Leaf(BoundName(Path(("#", "a")))), Leaf(BoundName(Path(("#", "b"))))
    rng = random.Random(1)
    only = Union((Weighted(0.0, one), Weighted(1.0, other)))
    assert {drawn(only, rng) for _ in range(100)} == {Path(("#", "b"))}
    assert drawn(Union((Weighted(0.0, one),)), rng) is None
    assert drawn(Alt((EmptyTree(), one)), rng) == Path(("#", "a"))
    assert drawn(EmptyTree(), rng) is None


def test_leaves_of_a_delegation_get_their_addresses_however_deep() -> None:
    leaf = {"type": "leaf", "bound": {"id": "/#/files/users", "path": "/"}}
    tree = {"delegate": {"alt": [{"union": [{"weight": 1.0, "tree": leaf}]}, {"type": "neg"}]}}
    said = with_addresses(tree, pending)
    assert said["delegate"]["alt"][0]["union"][0]["tree"]["bound"]["addr"] == {"type": "pending"}
    assert said["delegate"]["alt"][1] == {"type": "neg"}
