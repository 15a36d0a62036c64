from __future__ import annotations

import pytest

from discovery.path import Path
from mesh.naming.trace import Missing
from mesh.naming.tree import BoundName, Empty, Fail, Leaf
from mesh.naming.utility import Unusable, lookup


@pytest.mark.parametrize(
    ("path", "rewritten"),
    [
        ("/$/io.buoyant.hostportPfx/ia/127.1:8080/etc", "/ia/127.1/8080/etc"),
        ("/$/io.buoyant.porthostPfx/ia/host:http/etc", "/ia/http/host/etc"),
        ("/$/io.buoyant.http.anyMethod/GET", "/"),
        ("/$/io.buoyant.http.anyMethodPfx/foo/GET/bar", "/foo/bar"),
        ("/$/io.buoyant.http.anyHost/a.b/foo", "/foo"),
        ("/$/io.buoyant.http.anyHostPfx/foo/a.b/bar", "/foo/bar"),
        ("/$/io.buoyant.http.subdomainOf/a.b/x.y.a.b:80/r", "/x.y/r"),
        ("/$/io.buoyant.http.subdomainOfPfx/a.b/foo/bar-suffix.a.b/bah", "/foo/bar-suffix/bah"),
        ("/$/io.buoyant.http.domainToPath/foo.buoyant.io/r", "/io/buoyant/foo/r"),
        ("/$/io.buoyant.http.domainToPath/foo.io:80", "/io:80/foo"),
        ("/$/io.buoyant.http.domainToPath/foo.io.", "/io/foo"),
        ("/$/io.buoyant.http.domainToPathPfx/pfx/foo.io", "/pfx/io/foo"),
    ],
)
def test_rewrites(path: str, rewritten: str) -> None:
    assert lookup(Path.parse(path)) == Leaf(Path.parse(rewritten))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/$",
        "/#/nobody",
        "/$/io.buoyant.hostportPfx/ia",
        "/$/io.buoyant.hostportPfx/ia/host",
        "/$/io.buoyant.hostportPfx/ia/host:80:90",
        "/$/io.buoyant.hostportPfx/ia/:80",
        "/$/io.buoyant.hostportPfx/ia/host:HTTP",
        "/$/io.buoyant.hostportPfx/ia/host:" + "a" * 64,
        "/$/io.buoyant.http.anyMethod/A.B/foo",
        "/$/io.buoyant.http.anyMethod",
        "/$/io.buoyant.http.subdomainOf/a.b/.a.b",
        "/$/io.buoyant.http.subdomainOf/a.b",
        "/$/io.buoyant.http.domainToPath/a..b",
        "/$/io.buoyant.http.domainToPath/.",
        "/$/io.buoyant.rinet/80",
        "/$/io.buoyant.rinet/http/host",
    ],
)
def test_what_does_not_match_is_missing_with_a_reason(path: str) -> None:
    answer = lookup(Path.parse(path))
    assert isinstance(answer, Missing)
    assert answer.reason


@pytest.mark.parametrize(
    ("path", "name", "residual"),
    [
        ("/$/inet/localhost/80/r/s", "/$/inet/localhost/80", "/r/s"),
        ("/$/inet/80/r", "/$/inet/80", "/r"),
        ("/$/inet/80/90", "/$/inet/80/90", "/"),
        ("/$/fixedinet/host/80", "/$/fixedinet/host/80", "/"),
        ("/$/io.buoyant.rinet/80/host/r", "/$/io.buoyant.rinet/80/host", "/r"),
    ],
)
def test_an_address_is_a_name_to_be_observed(path: str, name: str, residual: str) -> None:
    assert lookup(Path.parse(path)) == Leaf(BoundName(Path.parse(name), Path.parse(residual)))


def test_nil_and_fail_take_any_rest() -> None:
    assert lookup(Path.parse("/$/nil/a/b")) == Empty()
    assert lookup(Path.parse("/$/fail/a/b")) == Fail()


@pytest.mark.parametrize(
    ("path", "known", "reason"),
    [
        ("/$/com.twitter.serverset/x", False, "there is no namer /$/com.twitter.serverset"),
        ("/$/inet", False, "<host>/<port>"),
        ("/$/inet/localhost/http", False, "a port is a number"),
        ("/$/inet/localhost/99999", True, "99999 is no port"),
        ("/$/inet/localhost/-1", True, "-1 is no port"),
        ("/$/inet/localhost/" + "9" * 5000, True, "is no port"),
        ("/$/io.buoyant.namer.zk.leader/h:1/x", False, "not supported"),
    ],
)
def test_what_can_not_be_looked_up_at_all_is_an_error(path: str, known: bool, reason: str) -> None:
    answer = lookup(Path.parse(path))
    assert isinstance(answer, Unusable)
    assert (answer.known, reason in answer.reason) == (known, True)
