"""Whatever stands in the file, `examine` gives a configuration or problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.config.load import examine
from mesh.config.schema import schema

SCHEMA: Any = schema()
SECTIONS = {name: sorted(each.get("properties", ())) for name, each in SCHEMA["$defs"].items()}
KEYS = sorted({*SCHEMA["properties"], *(key for keys in SECTIONS.values() for key in keys)})

words = st.sampled_from(
    [
        "",
        "/",
        "host",
        "static",
        "files",
        "consul",
        "dns",
        "10s",
        "::1",
        "0.0.0.0",
        "/svc => /#/x",
        "a\0b",
        "~",
        "~nosuchuser/x",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-1, 70000) | st.floats(allow_nan=False) | words | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
kinds = st.fixed_dictionaries({"kind": st.sampled_from(["static", "files", "consul", "dns"])})
sources = st.lists(
    st.builds(lambda keys, kind: keys | kind, st.dictionaries(st.sampled_from(KEYS), values, max_size=3), kinds),
    max_size=3,
)
plain = st.dictionaries(st.sampled_from(sorted(SCHEMA["properties"])), values, max_size=5)
documents = plain | st.builds(lambda keys, entries: {**keys, "sources": entries}, plain, sources)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents)
def test_any_value_is_judged(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "tieline.yaml"
    # JSON is YAML; what JSON escapes YAML can't always hold, which is a problem to be told like any other.
    file.write_text(json.dumps(document))
    examined = examine(file)
    assert (examined.config is None) == bool(examined.errors)
    assert all(problem.message and problem.hint and "\n" not in str(problem) for problem in examined.errors)
