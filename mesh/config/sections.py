"""A file's keys, section by section: each validated against its model, each mistake reported with its place."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from discovery import registry
from discovery.settings import SourceConfig
from mesh.config import wording
from mesh.config.document import Document, Loc, Value
from mesh.config.report import Report

Model = TypeVar("Model", bound=BaseModel)

SOURCE_EXAMPLE = "{kind: files, folder: disco}"


class Sections:
    """`folder`: what relative files are relative to."""

    def __init__(self, folder: pathlib.Path, document: Document, report: Report) -> None:
        self._folder = folder
        self._document = document
        self._report = report

    def keys(self, model: type[BaseModel]) -> dict[str, object] | None:
        value = self._document.value
        if isinstance(value, dict):
            return dict(value)
        if self._document.flaws:
            return None
        if value is None:
            return {}
        known = ", ".join(model.model_fields)
        self._report.value((), "a section of keys expected", f"Keys here: {known}")
        return None

    def sources(self, entries: object) -> dict[int, SourceConfig]:
        if entries is None:
            return {}
        if not isinstance(entries, list):
            self._report.value(("sources",), "a list expected", f"Write for example `sources: [{SOURCE_EXAMPLE}]`")
            return {}
        sources = ((index, self._source(entry, ("sources", index))) for index, entry in enumerate(entries))
        return {index: source for index, source in sources if source is not None}

    def _source(self, entry: Value, loc: Loc) -> SourceConfig | None:
        if not isinstance(entry, dict):
            hint = f"Write for example `- {SOURCE_EXAMPLE}`"
            self._report.value(loc, "a section of keys expected", hint)
            return None
        kind, kinds = entry.get("kind"), registry.registered()
        if "kind" not in entry:
            hint = f"Kinds of source here: {', '.join(kinds)}"
            self._report.value((*loc, "kind"), "the key is missing", hint)
            return None
        if not isinstance(kind, str) or kind not in kinds:
            hint = wording.unknown(str(kind), kinds)
            message = f"no kind of source is called {kind!r}"
            self._report.value((*loc, "kind"), message, hint)
            return None
        model = registry.load(kind)
        if isinstance(model, registry.Broken):
            hint = "Install or repair it, or remove this source"
            self._report.value((*loc, "kind"), str(model), hint)
            return None
        return self.placed(model, entry, loc)

    def placed(self, model: type[Model], keys: Mapping[str, object], loc: Loc) -> Model | None:
        """Validated; its relative files and folders are seen from the folder of the configuration."""
        section = self.validated(model, keys, loc)
        return None if section is None else _placed(section, self._folder)

    def validated(self, model: type[Model], keys: Mapping[str, object], loc: Loc) -> Model | None:
        try:
            return model.model_validate(keys, context={"folder": self._folder})
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._report.refused(details, model, loc)
        except RuntimeError as error:
            # pathlib says it so when a home folder is unknown; a source's own checks may do likewise.
            self._report.value(loc, str(error).rstrip(".").lower(), "Correct the entry")
        return None


def _placed(model: Model, folder: pathlib.Path) -> Model:
    values = {name: getattr(model, name) for name in type(model).model_fields}
    places = {name: folder / value for name, value in values.items() if isinstance(value, pathlib.Path)}
    sections = {name: _placed(value, folder) for name, value in values.items() if isinstance(value, BaseModel)}
    return model.model_copy(update={**places, **sections})
