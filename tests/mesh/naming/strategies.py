"""Paths, trees and tables for property tests: any segment, any weight, any nesting that can be written."""

from __future__ import annotations

from hypothesis import strategies as st

from discovery.path import Path
from mesh.naming import tree
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.prefix import WILDCARD
from mesh.naming.tree import Alt, Leaf, NameTree, Union, Weighted

segments = st.one_of(
    st.sampled_from(["a", "b", "svc", "#", "$", "*", "io.l5d.fs", "~", "a b", "é", "\udcff"]),
    st.binary(min_size=1, max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
paths = st.lists(segments, max_size=4).map(Path)
weights = st.one_of(
    st.integers(0, 100).map(float),
    st.decimals(0, 100, places=2).map(float),
    st.floats(0, 1e12, allow_nan=False, allow_infinity=False),
)
_ends: st.SearchStrategy[NameTree[Path]] = st.one_of(
    paths.map(Leaf), st.sampled_from([tree.Neg(), tree.Empty(), tree.Fail()])
)


def _branched(inner: st.SearchStrategy[NameTree[Path]]) -> st.SearchStrategy[NameTree[Path]]:
    alternatives = st.lists(inner, min_size=2, max_size=3).map(lambda trees: Alt(tuple(trees)))
    shares = st.lists(st.builds(Weighted, weights, inner), min_size=2, max_size=3)
    return st.one_of(alternatives, shares.map(lambda branches: Union(tuple(branches))))


trees = st.recursive(_ends, _branched, max_leaves=12)
prefixes = st.lists(st.one_of(segments, st.just(WILDCARD)), max_size=4).map(tuple)
tables = st.lists(st.builds(Dentry, prefixes, trees), max_size=6).map(Dtab)
