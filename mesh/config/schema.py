"""The configuration as JSON schema, for editors: `tieline config schema`."""

from __future__ import annotations

from pydantic.json_schema import models_json_schema

from discovery import registry
from discovery.settings import SourceConfig
from mesh.config.model import Config

Json = dict[str, object]

_TEMPLATE = "#/$defs/{model}"


def schema() -> Json:
    """Holds the kinds of source that can be used here."""
    kinds = {name: kind for name, kind in registry.kinds().items() if not isinstance(kind, registry.Broken)}
    return schema_with(kinds)


def schema_with(kinds: dict[str, type[SourceConfig]]) -> Json:
    root = Config.model_json_schema(ref_template=_TEMPLATE)
    _, sources = models_json_schema([(kind, "validation") for kind in kinds.values()], ref_template=_TEMPLATE)
    definitions = {**root["$defs"], **sources.get("$defs", {})}
    definitions.pop(SourceConfig.__name__, None)
    for name, kind in kinds.items():
        definition = definitions[kind.__name__]
        definition["properties"]["kind"] = {"const": name, "title": "Kind"}
        definition["required"] = sorted({*definition.get("required", ()), "kind"})
    items = {"oneOf": [{"$ref": _TEMPLATE.format(model=kind.__name__)} for kind in kinds.values()]}
    root["properties"]["sources"]["items"] = items
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "The configuration of Tieline's agent",
        "$defs": definitions,
    }
