"""What pydantic found wrong, in words of ours: what was expected, what stands there, what to write."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mesh.config.document import Loc
from mesh.naming.dtab import DtabSyntaxError

DTAB_HINT = "A table reads `/prefix => /path | /another ; …`"

_SECRET_KEY = re.compile(r"token|secret|passw|key|credential", re.IGNORECASE)
_USER_IN_URL = re.compile(r"//[^/@\s]*@")
_LONGEST_ECHO = 60

_EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number expected",
    "int_parsing": "a whole number expected",
    "int_from_float": "a whole number expected",
    "float_type": "a number expected",
    "float_parsing": "a number expected",
    "finite_number": "a finite number expected",
    "bool_type": "true or false expected",
    "bool_parsing": "true or false expected",
    "string_type": "text expected",
    "string_sub_type": "text expected",
    "path_type": "the path of a file or folder expected",
    "list_type": "a list expected",
    "tuple_type": "a list expected",
    "set_type": "a list expected",
    "frozen_set_type": "a list expected",
    "dict_type": "a section of keys expected",
    "model_type": "a section of keys expected",
    "model_attributes_type": "a section of keys expected",
    "greater_than": "a number above {gt:.10g} expected",
    "greater_than_equal": "a number of at least {ge:.10g} expected",
    "less_than": "a number below {lt:.10g} expected",
    "less_than_equal": "a number of at most {le:.10g} expected",
    "literal_error": "{expected} expected",
    "enum": "{expected} expected",
    "string_pattern_mismatch": "text that matches {pattern} expected",
    "string_too_short": "text of at least {min_length} characters expected",
    "string_too_long": "text of at most {max_length} characters expected",
    "is_instance_of": "{class} expected",
}


def message(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "the key is missing"
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "too_short":
        return f"at least {context['min_length']} entry expected, the list is empty"
    if kind == "value_error":
        wrong = context["error"]
        return misread(wrong) if isinstance(wrong, DtabSyntaxError) else str(wrong)
    if kind not in _EXPECTED:
        return error["msg"][:1].lower() + error["msg"][1:]
    return f"{_EXPECTED[kind].format(**context)}, not {_echo(error)}"


def misread(error: DtabSyntaxError) -> str:
    at = error.position
    found = repr(error.text[at]) if at < len(error.text) else "the end of the table"
    return f"{error.expected} expected, not {found}"


def hint(error: ErrorDetails, root: type[BaseModel], loc: Loc) -> str:
    """`loc` is relative to `root`."""
    if error["type"] == "extra_forbidden":
        word, known = str(loc[-1]), _keys(_models_at(root, loc[:-1]))
        return f"Another kind has `{word}`: remove it, or change `kind`" if word in known else unknown(word, known)
    if isinstance(error.get("ctx", {}).get("error"), DtabSyntaxError):
        return DTAB_HINT
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        close = difflib.get_close_matches(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]), 1)
        if close:
            return f"Did you mean {close[0]!r}?"
    return _example(root, loc)


def unknown(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(sorted(known))}" if known else "Remove it"


def show(loc: Loc) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).removeprefix(".")


def _echo(error: ErrorDetails) -> str:
    value, key = error["input"], next((step for step in reversed(error["loc"]) if isinstance(step, str)), "")
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if _SECRET_KEY.search(key):
        return "what stands there"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    text = _USER_IN_URL.sub("//***@", text)
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"


def _example(root: type[BaseModel], loc: Loc) -> str:
    steps = loc
    while steps and isinstance(steps[-1], int):
        steps = steps[:-1]
    field = _field_at(root, steps)
    if field is not None and field.examples:
        return f"Write for example `{steps[-1]}: {_yaml(field.examples[0])}`"
    models = _within(field.annotation) if field else []
    if models:
        return f"Keys of this section: {', '.join(_keys(models))}"
    if steps:
        return f"Correct or remove `{steps[-1]}`"
    return f"Keys of this section: {', '.join(root.model_fields)}"


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keys(models: list[type[BaseModel]]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_at(root: type[BaseModel], loc: Loc) -> list[type[BaseModel]]:
    if not loc:
        return [root]
    field = _field_at(root, tuple(step for step in loc if isinstance(step, str)))
    return _within(field.annotation) if field else []


def _field_at(root: type[BaseModel], loc: Loc) -> FieldInfo | None:
    models = [root]
    field = None
    for step in loc:
        if isinstance(step, int):
            continue
        field = next((model.model_fields[step] for model in models if step in model.model_fields), None)
        if field is None:
            return None
        models = _within(field.annotation)
    return field


def _within(annotation: object) -> list[type[BaseModel]]:
    """The models an annotation speaks of: itself, or what stands in its list, tuple or union."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    found = (model for argument in typing.get_args(annotation) for model in _within(argument))
    return list(dict.fromkeys(found))
