from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Endpoint, Known, Neg, bound
from discovery.path import Path
from mesh.control.effect import Rules, Use, View
from mesh.control.lint import CODES, Lint, Reach, lint, meet, read, refuses
from mesh.control.preview import preview
from mesh.control.version import Content
from mesh.naming.bind import Options
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.naming.pattern import Pattern
from mesh.naming.prefix import WILDCARD, Prefix
from mesh.policy.effective import Policies

ROOTS = [Path(("#", "consul")), Path(("#", "docker"))]
NAMES = [Path(("svc", "users"))]


def said(dtab: str, policies: str = "", roots: Sequence[Path] = ROOTS, names: Sequence[Path] = NAMES) -> list[Lint]:
    content = Content(dtab, policies)
    return lint(content, read(content), roots, names, None)


def places(found: list[Lint]) -> list[tuple[str, str, str, int, int]]:
    return [(each.code, each.level, each.where, each.line, each.column) for each in found]


@pytest.mark.parametrize(
    ("dtab", "policies"),
    [
        ("/svc => /#/consul/dc1", ""),
        ("/svc => /#/consul/dc1/x | /#/docker; /host => /$/inet/127.0.0.1/80 | /$/nil", "- match: /svc/users"),
        ("/svc => /#", "[]"),
        ("/svc => /$/io.buoyant.http.domainToPathPfx/host", "- {match: /anything/else}"),
        (
            "/svc/* => /#/consul/dc1",
            "- match: /svc/{name}/x\n- {match: /#/consul/dc1/users, limits: {connections: 1}}",
        ),
        ("/svc => /#/consul", "- {match: /svc, timeout: {request: 1s}}\n- {match: /svc, failover: true}"),
    ],
)
def test_nothing_to_say(dtab: str, policies: str) -> None:
    assert said(dtab, policies) == []


@pytest.mark.parametrize(
    ("dtab", "policies", "expected"),
    [
        ("/svc => /a ;\n  /b ==> /c", "", [("TL001", "error", "dtab", 2, 6)]),
        ("/a => /b;\n /b => /a", "", [("TL002", "error", "dtab", 1, 1)]),
        ("/a => /#/consul/x;\n  /a => !", "", [("TL003", "warning", "dtab", 1, 1)]),
        ("/a => /#/consul/x |\n  /#/gone/y", "", [("TL004", "warning", "dtab", 2, 3)]),
        ("/a => /$/zk/x | /#/docker/y", "", [("TL005", "error", "dtab", 1, 7)]),
        (" # nothing\n", "", [("TL007", "warning", "dtab", 1, 1)]),
        ("/svc => /#/consul", "- match: users", [("TL101", "error", "policies", 1, 10)]),
        ("/svc => /#/consul", "- match: /svc\n  timout: 3", [("TL101", "error", "policies", 2, 3)]),
        ("/svc => /#/consul", "- match: /svc\n  timeout: {\n", [("TL101", "error", "policies", 3, 1)]),
        ("/svc => /#/consul", "match: /svc", [("TL101", "error", "policies", 1, 1)]),
        ("/svc => /#/consul", "\n- match: /host/{x}", [("TL102", "info", "policies", 2, 1)]),
        ("/svc => /#/consul", "- match: /#/files", [("TL102", "info", "policies", 1, 1)]),
        (
            "/svc => /#/consul",
            "- match: /svc\n  timeout: {request: 1s}\n- match: /svc\n  timeout: {request: 2s}",
            [("TL103", "warning", "policies", 3, 1)],
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    dtab: str, policies: str, expected: list[tuple[str, str, str, int, int]]
) -> None:
    found = said(dtab, policies)
    assert places(found) == expected
    assert all(each.message and each.hint for each in found)
    assert refuses(found) == (expected[0][1] == "error")


def test_all_mistakes_of_both_are_said_at_once_errors_first() -> None:
    found = said("/a => /#/gone/x; /b => /$/zk/y", "- match: /svc\n  timout: 3")
    assert [each.code for each in found] == ["TL005", "TL101", "TL004"]


def test_a_source_of_an_agent_alone_counts() -> None:
    assert places(said("/svc => /#/mine/x", roots=[])) == [("TL004", "warning", "dtab", 1, 9)]
    assert said("/svc => /#/mine/x", roots=[Path(("#", "mine"))]) == []


def test_names_in_use_that_would_lead_nowhere_are_told_by_name() -> None:
    before, after = "/svc => /#/consul", "/svc => /#/consul; /svc/cart => !; /svc/users => /a/b; /a => ~ | ~"
    known = Known(bound([Endpoint("10.0.0.1", 80)]), 0, 0)
    uses = [
        Use("http", Path(("svc", name)), {View([SourceNamer(ROOTS[0], 1)]): rate})
        for name, rate in (("users", 1.0), ("cart", 2.5), ("gone", 1.0))
    ]
    rules = [Rules(parse_dtab(each), Policies()) for each in (before, after)]
    states = {Path(("#", "consul", name)): known for name in ("cart",)}
    seen = preview(uses, rules[0], rules[1], Options(), lambda path: states.get(path, Known(Neg(), 0, 0)))
    content = Content(after)
    (found,) = (each for each in lint(content, read(content), ROOTS, [], seen) if each.code == "TL006")
    assert found.message == "/svc/cart is in use (2.5 requests/s) and would lead nowhere: refused by `!`"
    assert "/#/consul/cart" in found.hint
    assert not refuses([found])


def test_secrets_that_stand_where_they_do_not_belong_are_not_repeated() -> None:
    (found,) = said("/svc => /#/consul", "- match: /svc\n  tls: {ca_file: 5, token: s3cret}")[:1]
    assert "s3cret" not in str(found.json())


def test_every_code_is_documented_once() -> None:
    assert sorted(CODES) == list(CODES)
    assert {each.code for each in said("/a => /$/zk/x", "- match: x")} <= set(CODES)


ELEMENT = st.sampled_from(["a", "b", "a b", "x:y"])
PREFIX = st.lists(st.one_of(ELEMENT, st.just(WILDCARD)), max_size=3).map(tuple)
MATCH = st.lists(st.sampled_from(["a", "b", "x:y", "\\x61\\x20\\x62", "*", "{n}", "a{n}"]), max_size=3)


@given(st.lists(PREFIX, max_size=4), st.lists(st.lists(ELEMENT, max_size=3).map(Path), max_size=3), MATCH)
def test_what_a_match_can_reach_is_what_comparing_it_with_everything_says(
    prefixes: list[Prefix], names: list[Path], match: list[str]
) -> None:
    pattern = Pattern("/" + "/".join(match))
    elements = [Pattern(f"/{text}") for text in match]
    compared = any(pattern.captures(name) is not None for name in names) or any(
        meet(elements, prefix) for prefix in prefixes
    )
    assert Reach(prefixes, names).has(pattern.text) is compared
