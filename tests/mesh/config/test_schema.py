from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mesh.config import document
from mesh.config.schema import schema

GOOD = sorted((Path(__file__).parent / "corpus").glob("*.good.yaml"))
FILES = [*GOOD, *sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))]


def resolved(node: dict[str, Any], value: object) -> dict[str, Any]:
    """The one definition that describes `value`: by `$ref`, by `kind`, or the first that is no null."""
    if "$ref" in node:
        return schema()["$defs"][node["$ref"].rpartition("/")[2]]  # type: ignore[index, no-any-return]
    if "oneOf" in node:
        found = [resolved(each, value) for each in node["oneOf"]]
        return next(each for each in found if each["properties"]["kind"]["const"] == value["kind"])  # type: ignore[index]
    for each in node.get("anyOf", ()):
        if "$ref" in each or each.get("type") in ("object", "array"):
            return resolved(each, value)
    return node


def unknown(node: dict[str, Any], value: object) -> list[str]:
    described = resolved(node, value)
    if isinstance(value, dict) and "properties" in described:
        properties = described["properties"]
        assert described["additionalProperties"] is False
        assert set(described.get("required", ())) <= set(value)
        inner = [unknown(properties[key], each) for key, each in value.items() if key in properties]
        return [key for key in value if key not in properties] + [key for keys in inner for key in keys]
    if isinstance(value, list) and "items" in described:
        return [key for each in value for key in unknown(described["items"], each)]
    return []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_schema_knows_every_key_of_the_good_files(file: Path) -> None:
    assert unknown(schema(), yaml.safe_load(file.read_text()) or {}) == []


def test_the_walk_itself_finds_an_unknown_key() -> None:
    assert unknown(schema(), {"sources": [{"kind": "static", "nmaes": {}}], "lgo": {}}) == ["lgo", "nmaes"]


def test_the_schema_is_json_and_describes_every_key() -> None:
    told = json.loads(json.dumps(schema()))
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert [key for key, each in told["properties"].items() if "description" not in each] == []


def test_a_validator_of_others_accepts_the_good_files() -> None:
    for file in FILES:
        # As our reader takes it: to it `no` and `750` are the names they look like.
        jsonschema.validate(document.read(file.read_text()).value or {}, schema())
