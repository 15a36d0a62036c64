"""What rewrites and redirects make of a path, by the expressions that Envoy gets."""

from __future__ import annotations

import re

import pytest
from envoy.config.route.v3.route_components_pb2 import RedirectAction, Route
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.envoy.names import cluster_name
from mesh.envoy.routes import scope
from mesh.naming.tree import BoundName, Leaf
from mesh.policy.rewriting import is_below
from mesh.policy.settings import Settings

USERS = Leaf(BoundName(Path.parse("/#/files/users")))
SEGMENTS = st.lists(st.sampled_from(["a", "api", "a.i", "b"]), min_size=1, max_size=4).map(lambda some: "/".join(some))
PATHS = st.builds(lambda path, end: f"/{path}{end}", SEGMENTS, st.sampled_from(["", "/"])) | st.just("/")


def routes(consumed: int, **written: object) -> list[Route]:
    settings = Settings.model_validate(written)
    message = scope("r", "users", USERS, settings, grpc=cluster_name, consumed=consumed)
    (host,) = message.route_configuration.virtual_hosts
    return [each for each in host.routes if not each.match.HasField("grpc")]


def chosen(found: list[Route], path: str) -> Route:
    """As Envoy chooses: the first that matches."""
    return next(
        each
        for each in found
        if not each.match.HasField("safe_regex") or re.fullmatch(each.match.safe_regex.regex, path)
    )


def substituted(rewrite: RegexMatchAndSubstitute, path: str) -> str:
    return re.sub(rewrite.pattern.regex, rewrite.substitution, path) if rewrite.pattern.regex else path


def rest(path: str, consumed: int) -> str:
    """Empty, if nothing is left; a service is then asked for `/`."""
    return "".join(f"/{each}" for each in path.split("/")[1 + consumed :])


def moved(path: str, prefix: str, to: str) -> str:
    if not is_below(path, prefix):
        return path
    behind = path[len(prefix.rstrip("/")) :].removeprefix("/")
    slash = "/" if path[len(prefix.rstrip("/")) :].startswith("/") else ""
    return to + behind if to.endswith("/") else to + slash + behind


@given(path=PATHS, prefix=PATHS, to=PATHS, consumed=st.integers(0, 2))
def test_a_path_loses_what_is_consumed_and_then_its_prefix(path: str, prefix: str, to: str, consumed: int) -> None:
    if len([each for each in path.split("/") if each]) < consumed:
        return  # not identified
    found = chosen(routes(consumed, rewrite={"prefix": prefix, "to": to}), path)
    assert substituted(found.route.regex_rewrite, path) == (moved(rest(path, consumed), prefix, to) or "/")


@given(path=PATHS, prefix=PATHS, to=PATHS, consumed=st.integers(0, 2))
def test_a_redirect_keeps_what_is_consumed(path: str, prefix: str, to: str, consumed: int) -> None:
    if len([each for each in path.split("/") if each]) < consumed:
        return
    behind = rest(path, consumed)
    kept = path.removesuffix(behind)
    found = chosen(routes(consumed, redirect={"prefix": prefix, "to": to, "scheme": "https"}), path)
    assert found.HasField("redirect") == is_below(behind, prefix)
    if found.HasField("redirect"):
        assert substituted(found.redirect.regex_rewrite, path) == kept + moved(behind, prefix, to)


def test_nothing_said_nothing_done() -> None:
    for found in routes(0), routes(0, rewrite={"host": "other"}):
        assert not any(each.route.HasField("regex_rewrite") for each in found)
    assert [each.route.host_rewrite_literal for each in routes(0, rewrite={"host": "other"})] == ["other"]


def test_only_a_consumed_segment_and_a_prefix_together_need_two_routes() -> None:
    prefix = {"prefix": "/api", "to": "/"}
    assert [len(routes(consumed, rewrite=prefix)) for consumed in (0, 1)] == [1, 2]
    assert len(routes(1, rewrite=prefix, retries={"statuses": [503]})) == 4


def test_a_redirect_of_all_is_all() -> None:
    [found] = routes(1, redirect={"path": "/x?y", "host": "h", "port": 1, "status": 301})
    action = RedirectAction(path_redirect="/x?y", host_redirect="h", port_redirect=1)
    assert found.redirect == action


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [("/a", "/a", True), ("/a/", "/a", True), ("/a", "/a/", True), ("/ab", "/a", False), ("/x", "/", True)],
)
def test_what_is_below(path: str, prefix: str, expected: bool) -> None:
    assert is_below(path, prefix) == expected
