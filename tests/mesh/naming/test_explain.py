from __future__ import annotations

import json
import random

import pytest

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.naming.bind import Binding, bind
from mesh.naming.dtab import parse_dtab
from mesh.naming.explain import TRAIL, Asked, explain, show_binding, trail
from mesh.naming.namers import LongestNamer, SourceNamer
from tests.mesh.naming import random_tables

LIVE = Known(bound([Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)]), since=1, confirmed_at=2)
KNOWN: dict[Path, State] = {
    Path.parse(path): state
    for path, state in {
        "/#/consul/live": LIVE,
        "/#/consul/empty": Known(Bound(), 1, 2),
        "/#/ecs/slow": Pending("timed out"),
        "/#/ecs/dark": Failed("connection refused"),
        "/#/ecs/empty": Known(Bound(), 1, 2, held="Consul answers 500"),
    }.items()
}
TABLE = """/ecs => /#/ecs ;
/svc => /#/consul | /ecs ;
/svc/none/v2 => ! ;
/split => 9 * /#/consul/live & /#/consul/gone & $ ;
/loop => /pool; /pool => /loop ;
/neg => ~ ; /fail => ! ; /nil => $ ;
"""
NAMERS = [SourceNamer(Path.parse("/#/consul"), 1), SourceNamer(Path.parse("/#/ecs"), 1)]


def state(path: Path) -> State:
    return KNOWN.get(path, Known(Neg(), 1, 2))


def explained(path: str, table: str = TABLE, *, exhaustive: bool = True) -> Binding:
    dtab = parse_dtab(table, "file tieline.dtab") + parse_dtab("/svc/tmp => /#/docker/x", "header l5d-dtab")
    return bind(dtab, Path.parse(path), NAMERS, state, exhaustive=exhaustive)


def test_a_plain_binding_can_say_why_a_name_is_refused() -> None:
    assert trail(explained("/svc/gone", exhaustive=False)) == [
        "/svc/gone -> /#/consul/gone: no such name [line 2 of file tieline.dtab: /svc=>/#/consul | /ecs]",
        "/svc/gone -> /ecs/gone -> /#/ecs/gone: no such name [line 1 of file tieline.dtab: /ecs=>/#/ecs]",
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/svc/slow", "/#/ecs/slow: has not answered yet (timed out)"),
        ("/svc/dark", "/#/ecs/dark: has not answered: connection refused"),
        ("/svc/empty", "/#/consul/empty: it exists, with no endpoint ["),
        ("/svc/empty", "/#/ecs/empty: it exists, with no endpoint (held: Consul answers 500)"),
        ("/svc/none/v2", "/svc/none/v2: the table says ! [line 3"),
        ("/svc/tmp", "/#/docker/x: no dentry matches, and no source has this prefix [line 1 of header l5d-dtab"),
        ("/loop", "/loop -> /pool: more than 100 lookups"),
        ("/nobody", "/nobody: no dentry matches"),
        ("/nil", "/nil: the table says $ [line 6"),
        ("/neg", "/neg: the table says ~"),
        ("/$/nonsense", "there is no namer /$/nonsense"),
        ("/#/consul", "/#/consul takes 1 segment, not 0"),
    ],
)
def test_the_trail_says_how_each_way_ended_and_the_dentry_that_led_there(path: str, said: str) -> None:
    assert any(said in line for line in trail(explained(path, exhaustive=False)))


def test_a_trail_is_short_however_much_was_tried() -> None:
    many = explained("/a", "/a => " + " | ".join(f"/#/consul/gone{n}" for n in range(50)))
    assert len(trail(many)) == TRAIL
    assert trail(many)[-1] == "… and more; explain shows all"
    twelve = explained("/a", "/a => " + " | ".join(f"/#/consul/gone{n}" for n in range(TRAIL)))
    assert "gone11" in trail(twelve)[-1]
    endless = explained("/a", "/a => /a/x & /a/y", exhaustive=False)
    assert "more than 5000 steps" in trail(endless)[0]
    long = explained("/a" + "/b" * 3000)
    assert len(trail(long)[0]) < 500


def test_the_way_that_won_is_marked_and_no_other() -> None:
    shown = explain(explained("/svc/live"), state)
    assert (shown["type"], shown["taken"]) == ("alt", True)
    won, passed = shown["alt"]
    assert (won["type"], won.get("taken"), won["bound"]) == ("leaf", True, {"id": "/#/consul/live", "path": "/"})
    assert (passed["type"], passed.get("taken")) == ("delegate", None)
    assert passed["delegate"]["verdict"] == "no such name"
    assert "taken" not in json.dumps(explain(explained("/svc/gone"), state))


def test_a_leaf_says_what_is_known_and_how_fresh_it_is() -> None:
    live, empty = explain(explained("/svc/live"), state), explain(explained("/svc/empty"), state)
    assert live["alt"][0]["state"] == {
        "type": "bound",
        "endpoints": 2,
        "usable": True,
        "since": 1,
        "confirmed_at": 2,
        "held": None,
    }
    assert empty["alt"][1]["delegate"]["state"]["held"] == "Consul answers 500"


def asked(path: Path) -> Asked | None:
    since = 7.0 if path == Path.parse("/#/ecs/empty") else None
    return Asked({"prefix": path.take(2).show(), "kind": path[1]}, since) if len(path) == 3 else None


def test_every_way_that_ends_at_a_source_says_at_which_and_what_is_known_there() -> None:
    live, empty, slow, dark = (
        explain(explained(path), state, asked)["alt"]
        for path in ("/svc/live", "/svc/empty", "/svc/slow", "/svc/dark/v2")
    )
    assert live[0]["source"] == {"prefix": "/#/consul", "kind": "consul"}
    assert "held_since" not in live[0]["state"]
    assert (empty[1]["delegate"]["source"]["kind"], empty[1]["delegate"]["state"]["held_since"]) == ("ecs", 7.0)
    gone, pending = slow[0], slow[1]["delegate"]
    assert (gone["type"], gone["source"]["kind"], gone["state"]["confirmed_at"]) == ("neg", "consul", 2)
    assert (pending["type"], pending["source"]["kind"]) == ("pending", "ecs")
    assert pending["state"] == {"type": "pending", "reason": "timed out"}
    assert dark[1]["delegate"]["state"] == {"type": "failed", "reason": "connection refused"}


def test_what_no_source_was_asked_for_has_none() -> None:
    for path in ("/nobody", "/neg", "/fail", "/$/nonsense", "/loop", "/#/consul"):
        shown = json.dumps(explain(explained(path), state, asked))
        assert "source" not in shown
        assert "state" not in shown


def test_of_several_names_that_were_asked_for_the_longest_is_told() -> None:
    known = {Path.parse("/#/marathon/a"): Known(Neg(), 1, 2), Path.parse("/#/marathon/a/b"): Pending("slow")}
    namers = [LongestNamer(Path.parse("/#/marathon"), 2)]
    found = bind(parse_dtab(""), Path.parse("/#/marathon/a/b/c"), namers, lambda path: known[path])
    shown = explain(found, lambda path: known[path], lambda path: Asked({"prefix": path.show()}, None))
    assert (shown["source"], shown["state"]) == ({"prefix": "/#/marathon/a/b"}, {"type": "pending", "reason": "slow"})


def test_a_union_shows_its_weights_and_which_branches_it_kept() -> None:
    shown = explain(explained("/split"), state)
    assert shown["dentry"] == {"prefix": "/split", "dst": "9.00*/#/consul/live & /#/consul/gone & $"}
    assert (shown["line"], shown["where"]) == (4, "file tieline.dtab")
    assert [(each["weight"], each["tree"]["type"], each["tree"].get("taken")) for each in shown["union"]] == [
        (9.0, "leaf", True),
        (1.0, "neg", None),
        (1.0, "empty", True),
    ]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/fail", {"type": "fail", "path": "!"}),
        ("/nil", {"type": "empty", "path": "/nil"}),
        ("/$/fail/x", {"type": "fail", "path": "/$/fail/x"}),
        ("/nobody", {"type": "neg", "path": "/nobody"}),
        ("/$/nonsense", {"type": "exception", "message": "there is no namer /$/nonsense"}),
        ("/svc/slow", {"type": "alt"}),
        ("/#/ecs/slow", {"type": "pending"}),
    ],
)
def test_each_end_has_its_type(path: str, shape: dict[str, object]) -> None:
    shown = explain(explained(path), state)
    assert {key: shown.get(key) for key in shape} == shape


def test_a_written_tilde_is_shown_as_linkerd_shows_it() -> None:
    shown = explain(explained("/neg"), state)
    assert (shown["type"], shown["path"]) == ("delegate", "/neg")
    assert (shown["delegate"]["type"], shown["delegate"]["path"]) == ("neg", "~")


def test_any_binding_can_be_explained_in_every_form() -> None:
    for seed in range(400):
        rng = random.Random(seed)
        table, path, states = random_tables.table(rng), random_tables.path(rng), random_tables.states(seed)
        namers = [SourceNamer(prefix, segments) for prefix, segments in random_tables.NAMERS]
        found = bind(table, path, namers, states, exhaustive=bool(seed % 2))
        shown = explain(found, states)
        assert json.loads(json.dumps(shown)) == shown, f"seed {seed}"
        assert shown["path"] == path.show() or shown["path"] == "!", f"seed {seed}"
        assert 1 <= len(trail(found)) <= TRAIL, f"seed {seed}"
        assert show_binding(found, states), f"seed {seed}"


@pytest.mark.parametrize(
    "table",
    ["/a => /a", "/a => /a & /a", "/a => " + "(" * 60 + "/a | ~" + ")" * 60, "/a => /b | /a/x; /b => (/a & ~) | !"],
)
def test_a_circle_can_be_explained_and_its_json_read(table: str) -> None:
    found = explained("/a", table)
    assert json.loads(json.dumps(explain(found, state)))
    assert max(map(len, show_binding(found, state))) < 300


def test_the_text_marks_the_way_that_won() -> None:
    assert show_binding(explained("/svc/live"), state) == [
        "* /svc/live",
        "*   /#/consul/live: 2 endpoints [line 2 of file tieline.dtab: /svc=>/#/consul | /ecs]",
        "    /ecs/live [line 2 of file tieline.dtab: /svc=>/#/consul | /ecs]",
        "      /#/ecs/live: no such name [line 1 of file tieline.dtab: /ecs=>/#/ecs]",
    ]
    assert show_binding(explained("/split"), state)[1].startswith("*   9.00 * /#/consul/live: 2 endpoints [line 4")
    assert "0 endpoints, held: Consul answers 500" in show_binding(explained("/svc/empty"), state)[3]
