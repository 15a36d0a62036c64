"""Facts about Finagle and Linkerd 1: one test case per vector. DTAB_VECTORS names another file of the same schema.

Vectors hold with Linkerd's options. One that can't be run fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import pytest

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.naming import bind, dtab, identify, local, tree
from mesh.naming.evaluate import evaluate
from mesh.naming.explain import explain
from mesh.naming.pattern import Pattern, substitute
from mesh.naming.prefix import Prefix
from mesh.naming.show import show_prefix
from mesh.naming.tree import BoundName, Leaf, NameTree

Vector = dict[str, Any]

FILE = File(os.environ.get("DTAB_VECTORS", File(__file__).parent / "dtab_vectors.json"))
VECTORS: list[Vector] = json.loads(FILE.read_text())["vectors"]

WRITTEN: dict[str, NameTree[Any]] = {"!": tree.Fail(), "~": tree.Neg(), "$": tree.Empty()}
STATES: dict[str, State] = {
    "bound": Known(bound([Endpoint("127.0.0.1", 80)]), 0, 0),
    "bound-with-no-addresses": Known(Bound(), 0, 0),
    "neg": Known(Neg(), 0, 0),
    "pending": Pending(),
    "failed": Failed("the platform can't be asked"),
}


@dataclass
class Entries:
    """A namer of the vectors: the longest entry that the path begins with wins, `*` is any path at all."""

    prefix: Path
    entries: dict[str, Any]

    def lookup(self, rest: Path, state: bind.AskState, /) -> bind.Answer:
        found = self._longest(rest)
        if found is None:
            return tree.Neg()
        length, entry = found
        if entry in ("fail", "empty"):
            return tree.Fail() if entry == "fail" else tree.Empty()
        if isinstance(entry, dict):
            return read_tree(entry["tree"])
        return Leaf(BoundName(self.prefix.then(rest.take(length)), rest.drop(length)))

    def state(self, path: Path) -> State:
        found = self._longest(path.drop(len(self.prefix)))
        return STATES[found[1]] if found else STATES["neg"]

    def _longest(self, rest: Path) -> tuple[int, Any] | None:
        paths = {Path(): self.entries["*"]} if "*" in self.entries else {}
        paths |= {Path.parse(text): entry for text, entry in self.entries.items() if text != "*"}
        lengths = [len(path) for path in paths if rest.startswith(path)]
        return (max(lengths), paths[rest.take(max(lengths))]) if lengths else None


def read_tree(shape: Any) -> NameTree[Path]:
    if isinstance(shape, str):
        return dtab.parse_tree(shape)
    if "alt" in shape:
        return tree.Alt(tuple(map(read_tree, shape["alt"])))
    return tree.Union(tuple(tree.Weighted(float(weight), read_tree(each)) for weight, each in shape["union"]))


def read_prefix(text: str) -> Prefix:
    return dtab.parse_dtab(f"{text} => ~").dentries[0].prefix


def tree_shape(value: NameTree[Path]) -> Any:
    match value:
        case Leaf(path):
            return path.show()
        case tree.Alt(trees):
            return {"alt": [tree_shape(each) for each in trees]}
        case tree.Union(branches):
            return {"union": [[branch.weight, tree_shape(branch.tree)] for branch in branches]}
    return next(text for text, written in WRITTEN.items() if written == value)


def bound_shape(value: tree.BoundTree) -> Any:
    match value:
        case Leaf(BoundName(name, residual)):
            return {"leaf": name.show(), "residual": residual.show()}
        case tree.Union(branches):
            return {"union": [[branch.weight, bound_shape(branch.tree)] for branch in branches]}
    return next(text for text, written in WRITTEN.items() if written == value)


def bound_with(vector: Vector, *, exhaustive: bool = False) -> tuple[bind.Binding, bind.AskState]:
    table = dtab.parse_dtab(vector.get("dtab", "")) + dtab.parse_dtab(vector.get("local_dtab", ""))
    namers = [Entries(Path.parse(each["prefix"]), each["entries"]) for each in vector.get("namers", [])]

    def state(path: Path) -> State:
        asked = [namer for namer in namers if path.startswith(namer.prefix)]
        longest = max(asked, key=lambda namer: len(namer.prefix), default=None)
        return longest.state(path) if longest else STATES["bound"]

    options = bind.Options(
        alternate_on=bind.LINKERD.alternate_on,
        unanswered=bind.LINKERD.unanswered,
        max_depth=vector.get("max_depth", bind.LINKERD.max_depth),
    )
    if vector["op"] == "bind_tree":
        subject = dtab.parse_tree(vector["input"])
        return bind.bind_tree(table, subject, namers, state, options, exhaustive=exhaustive), state
    path = dtab.parse_path(vector["path"])
    return bind.bind(table, path, namers, state, options, exhaustive=exhaustive), state


def outcome(binding: bind.Binding) -> Vector:
    match binding.tree:
        case bind.Broken(kind=kind):
            return {"error": kind}
        case bind.Waiting():
            return {"pending": True}
        case answer:
            return {"bound": bound_shape(answer)}


def assert_explains(shown: Any, expected: Any) -> None:
    """Every key that the vector states, and no other branch; keys beyond Linkerd's are ours."""
    match expected:
        case {"prefix": prefix, "dst": dst}:
            assert (read_prefix(shown["prefix"]), dtab.parse_tree(shown["dst"])) == (
                read_prefix(prefix),
                dtab.parse_tree(dst),
            )
        case dict():
            for key, value in expected.items():
                if key == "dentry" and isinstance(value, list):
                    assert_explains(shown.get("dentry"), {"prefix": value[0], "dst": value[1]})
                elif key == "dentry" and value is None:
                    assert "dentry" not in shown
                else:
                    assert_explains(shown.get(key), value)
        case list():
            assert len(shown) == len(expected)
            for each, wanted in zip(shown, expected, strict=True):
                branch = {"weight": wanted[0], "tree": wanted[1]} if isinstance(wanted, list) else wanted
                assert_explains(each, branch)
        case _:
            assert shown == expected


def identified(vector: Vector) -> Vector:
    options, request = vector["identifier"], vector["request"]
    prefix = Path.parse(options.get("dst_prefix", "/svc"))
    headers = {name.lower(): value for name, value in request.get("headers", {}).items()}
    authority = request.get("host", headers.get("host"))
    headers |= {"host": authority} if authority is not None else {}
    match options["kind"].lower().removeprefix("io.l5d.").replace("-", "").replace("_", ""):
        case "path" if options.get("consume"):
            found = identify.consumed(request["uri"], prefix, options.get("segments", 1))
        case "path":
            found = identify.uri_path(request["uri"], prefix, options.get("segments", 1))
        case "methodandhost":
            uri = request["uri"] if options.get("http_uri_in_dst") else None
            found = identify.method_and_host(
                request["method"], authority, prefix, version=request.get("version", "1.1"), uri=uri
            )
        case "header" | "header.path" | "headerpath":
            name = options.get("header", "l5d-name")
            found = identify.header(headers.get(name.lower()), prefix, name)
        case "headertoken" | "header.token" | "token":
            name = options.get("header", "Host")
            found = identify.token(headers.get(name.lower()), prefix, name)
        case "host":
            found = identify.host(authority or "", prefix)
        case "static":
            found = prefix.then(Path.parse(options["path"]))
        case unknown:
            pytest.fail(f"no identifier {unknown!r}")
    match found:
        case identify.Unidentified():
            return {"unidentified": True}
        case identify.Consumed(path, uri):
            return {"path": path.show(), "uri": uri}
        case path:
            return {"path": path.show()}


def answer(vector: Vector) -> Vector:
    return READING[vector["op"]](vector) if vector["op"] in READING else deciding(vector)


READING: dict[str, Callable[[Vector], Vector]] = {
    "parse_path": lambda vector: {"path": list(dtab.parse_path(vector["input"]))},
    "parse_tree": lambda vector: {"tree": tree_shape(dtab.parse_tree(vector["input"]))},
    "parse_dtab": lambda vector: {"dtab": table_shape(dtab.parse_dtab(vector["input"]))},
    "show_path": lambda vector: {"show": shown_path(vector).show()},
}


def deciding(vector: Vector) -> Vector:
    match vector["op"]:
        case "eval":
            values = evaluate(dtab.parse_tree(vector["input"]))
            return {"eval": None if values is None else sorted(path.show() for path in values)}
        case "lookup":
            table = dtab.parse_dtab(vector["dtab"]) + dtab.parse_dtab(vector.get("local_dtab", ""))
            return {"tree": tree_shape(table.lookup(dtab.parse_path(vector["path"])))}
        case "bind" | "bind_tree":
            return outcome(bound_with(vector)[0])
        case "effective_dtab":
            return {"dtab": table_shape(effective(vector))}
        case "rewrite_match":
            captures = Pattern(vector["pattern"]).captures(Path.parse(vector["path"]))
            if "name" in vector and captures is not None:
                return {"captures": captures, "path": substitute(vector["name"], captures)}
            return {"captures": captures, "path": None}
        case "identify":
            return identified(vector)
    return pytest.fail(f"no operation {vector['op']!r}")


def shown_path(vector: Vector) -> Path:
    if "input_hex" in vector:
        return Path(bytes.fromhex(each).decode("utf-8", "surrogateescape") for each in vector["input_hex"])
    return dtab.parse_path(vector["input"]) if isinstance(vector["input"], str) else Path(vector["input"])


def table_shape(table: dtab.Dtab) -> list[list[Any]]:
    return [[show_prefix(each.prefix), tree_shape(each.tree)] for each in table.dentries]


def effective(vector: Vector) -> dtab.Dtab:
    base = dtab.parse_dtab(vector.get("dtab", "")) + dtab.parse_dtab(vector.get("local_dtab", ""))
    return base + local.local_dtab([(name, value) for name, value in vector.get("local_dtab_headers", [])])


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_what_linkerd_does_is_done(vector: Vector) -> None:
    expected = dict(vector["expect"])
    if expected == {"error": "parse"}:
        with pytest.raises(dtab.DtabSyntaxError):
            answer(vector)
        return
    if "eval" in expected and expected["eval"] is not None:
        expected["eval"] = sorted(expected["eval"])
    got = answer(vector)
    assert {key: got.get(key, "not answered") for key in expected} == expected


EXPLAINED = [vector for vector in VECTORS if "explain" in vector]


@pytest.mark.parametrize("vector", EXPLAINED, ids=[vector["id"] for vector in EXPLAINED])
def test_explain_has_the_shape_of_linkerds_delegate_tree(vector: Vector) -> None:
    binding, state = bound_with(vector, exhaustive=True)
    shown = explain(binding, state)
    assert_explains(shown, vector["explain"])
    assert "dentry" not in shown
    json.dumps(shown)


def test_there_are_vectors() -> None:
    assert VECTORS
