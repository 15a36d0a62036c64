"""Models whose keys are documented by the text below each. It goes into the JSON schema.

The text is read from the source when a schema is asked for. Read while classes are made, as pydantic can do it, it
would be a tenth of a second of every start.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Documented(BaseModel):
    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        properties = handler.resolve_ref_schema(written).get("properties", {})
        for key, text in texts(cls).items():
            if key in properties:
                properties[key]["description"] = text
        return written


def texts(model: type[BaseModel]) -> dict[str, str]:
    """By key, those of the classes it inherits from included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, Documented) and each is not Documented:
            found |= _texts(each)
    return found


def _texts(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):  # It was made without a file.
        return {}
    (written,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(written, ast.ClassDef)
    found = {}
    for key, below in zip(written.body, written.body[1:], strict=False):
        match key, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found
