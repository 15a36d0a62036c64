"""The routes as an OpenAPI 3.1 document. Pure: what is served and what it says come from the same declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from mesh.control.api.route import JSON, AnyRoute, Error, Plain

_TEMPLATE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_METHODS_OF_ALL = ("get", "put", "post", "delete")
_ABOUT = {
    "namespace": "The namespace.",
    "agent": "The agent's name.",
}
Json = dict[str, Any]


def document(routes: Iterable[AnyRoute], version: str) -> Json:
    listed = [route for route in routes if not route.path.endswith("/")]
    schemas, definitions = _schemas(listed)
    paths: dict[str, Json] = {}
    for route in listed:
        operations = paths.setdefault(route.path, {})
        if parameters := _path_parameters(route.path):
            operations["parameters"] = parameters
        for method in _METHODS_OF_ALL if route.method == "*" else (route.method.lower(),):
            operations[method] = _operation(route, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tieline's control plane", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}, "certificate": {"type": "mutualTLS"}},
        },
    }


def _schemas(routes: Iterable[AnyRoute]) -> tuple[Mapping[Any, Json], Json]:
    """Of every shape: how it is referred to, and the definitions of all."""
    shapes: dict[Any, None] = {Error: None}
    for route in routes:
        shapes |= dict.fromkeys(each for each in route.answers.values() if not isinstance(each, Plain | None))
        if route.has_body:
            shapes[route.body] = None
    known = list(shapes)
    found, definitions = TypeAdapter.json_schemas(
        [(index, "serialization", TypeAdapter(shape)) for index, shape in enumerate(known)], ref_template=_TEMPLATE
    )
    named = {known[int(str(index))]: schema for (index, _), schema in found.items()}
    return named, definitions.get("$defs", {})


def _operation(route: AnyRoute, method: str, schemas: Mapping[Any, Json]) -> Json:
    operation: Json = {
        "operationId": _id(route, method),
        "summary": route.summary,
        "responses": {str(status): _response(status, shape, schemas) for status, shape in _answers(route).items()},
    }
    if parameters := _query_parameters(route) + _headers(route):
        operation["parameters"] = parameters
    if route.role is not None:
        operation["security"] = [{"token": []}, {"certificate": []}, *([] if route.changes else [{}])]
        operation["x-role"] = route.role.value
    if route.takes is not None:
        content: Json = {kind: {} for kind in route.takes.content}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.has_body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[route.body]}}}
    return operation


def _answers(route: AnyRoute) -> Mapping[int, Any]:
    """With the errors that every route may have."""
    common = {400: Error, 500: Error}
    if route.role is not None:
        common |= {401: Error, 403: Error}
    if route.takes is not None or route.has_body:
        common |= {408: Error, 413: Error}
    if route.changes:
        common |= {503: Error}
    return dict(sorted({**common, **route.answers}.items()))


def _response(status: int, shape: Any, schemas: Mapping[Any, Json]) -> Json:
    said: Json = {"description": HTTPStatus(status).phrase}
    if isinstance(shape, Plain):
        return {"description": shape.text, "content": {kind: {} for kind in shape.content}} if shape.content else said
    return said if shape is None else {**said, "content": {JSON: {"schema": schemas[shape]}}}


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _ABOUT[name],
            "schema": {"type": "string"},
        }
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(route: AnyRoute) -> list[Json]:
    schema = route.query.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": said.get("description", ""),
            "schema": {key: value for key, value in said.items() if key not in ("description", "title")},
        }
        for name, said in schema.get("properties", {}).items()
    ]


def _headers(route: AnyRoute) -> list[Json]:
    if not route.changes:
        return []
    texts = {
        "If-Match": "Only if the version in force has one of these ETags.",
        "If-None-Match": "`*`: only if there is no such namespace.",
    }
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in texts.items()
    ]


def _id(route: AnyRoute, method: str) -> str:
    words = re.findall(r"\w+", route.path.replace("api/1", "namerd").removeprefix("/v1"))
    return "_".join([method, *words])
