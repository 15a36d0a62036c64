"""The document of all routes, judged by others: `openapi-spec-validator`, and jsonschema for every answer there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.control import Said, Served, control

Json = dict[str, Any]
_NS = "/v1/namespaces/default"


def validated(document: Json) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_the_document_is_valid_openapi() -> None:
    async with control() as served:
        document = (await served.get("/v1/openapi.json")).json
        validated(document)
        assert document["openapi"] == "3.1.0"


async def test_a_document_with_a_mistake_would_be_found() -> None:
    async with control() as served:
        document = (await served.get("/v1/openapi.json")).json
        document["paths"]["/v1/agents/{agent}"].pop("parameters")
        with pytest.raises(Exception, match="agent"):
            validated(document)


async def test_the_document_holds_every_route_and_no_other() -> None:
    async with control() as served:
        document = (await served.get("/v1/openapi.json")).json
        described = {(method.upper(), path) for path, said in document["paths"].items() for method in said}
        described = {(method, path) for method, path in described if method != "PARAMETERS"}
        routes = {
            (method, route.path)
            for route in served.control.routes
            if not route.path.endswith("/")
            for method in (("GET", "PUT", "POST", "DELETE") if route.method == "*" else (route.method,))
        }
        assert described == routes
        operations = [(key, said) for path in document["paths"].values() for key, said in path.items()]
        ids = [said["operationId"] for key, said in operations if key != "parameters"]
        assert len(ids) == len(set(ids))


def strict(schema: Any) -> Any:
    """What the document does not name is a mistake in an answer."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


class Judge:
    """Holds each answer against what the document says of its route and status."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._definitions = {"components": strict(document["components"])}
        self.seen: set[tuple[str, str, int]] = set()

    def check(self, method: str, path: str, said: Said) -> None:
        template = self._template(path.partition("?")[0])
        operation = self._document["paths"][template][method.lower()]
        assert str(said.status) in operation["responses"], (method, path, said.status, said.body)
        content = operation["responses"][str(said.status)].get("content")
        self.seen.add((method, template, said.status))
        if content is None:
            assert said.body == b"", (method, path, said.body)
            return
        kind = said.headers["content-type"].partition(";")[0]
        assert kind in content, (method, path, kind)
        if "schema" in content[kind]:
            schema = {**strict(content[kind]["schema"]), **self._definitions}
            Draft202012Validator(schema).validate(said.json)

    def _template(self, path: str) -> str:
        found = [each for each in self._document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)]
        return min(found, key=lambda each: each.count("{"))


TABLE = "/svc => /#/files"
DTAB = {"Content-Type": "application/dtab"}
ASKED: list[tuple[str, str, Mapping[str, Any], int]] = [
    ("PUT", _NS, {"json": {"dtab": TABLE}}, 200),
    ("PUT", _NS, {"json": {"dtab": TABLE}}, 200),
    ("PUT", _NS, {"json": {"dtab": TABLE}, "headers": {"If-None-Match": "*"}}, 412),
    ("PUT", "/v1/namespaces/other", {"json": {"dtab": TABLE}, "headers": {"If-Match": "*"}}, 412),
    ("PUT", _NS, {"json": {"dtab": "/svc"}}, 400),
    ("PUT", _NS, {"json": {"dtob": "/svc"}}, 400),
    ("PUT", _NS, {"json": {"dtab": "/svc => ~"}}, 409),
    ("DELETE", _NS, {}, 409),
    ("GET", _NS, {}, 200),
    ("GET", f"{_NS}?version=1", {}, 200),
    ("GET", f"{_NS}?version=99", {}, 404),
    ("GET", _NS, {"headers": {"If-None-Match": '"MQ=="'}}, 304),
    ("GET", "/v1/namespaces", {}, 200),
    ("GET", f"{_NS}/history", {}, 200),
    ("GET", f"{_NS}/history?limit=0", {}, 400),
    ("GET", f"{_NS}/names", {}, 200),
    ("GET", f"{_NS}/uses", {}, 200),
    ("GET", f"{_NS}/explain?name=users", {}, 200),
    ("GET", f"{_NS}/explain?name=//", {}, 400),
    ("GET", f"{_NS}/explain?name=users&agent=nobody", {}, 404),
    ("POST", f"{_NS}/preview", {"json": {"dtab": "/svc => ~"}}, 200),
    ("POST", f"{_NS}/preview", {"json": {"dtab": "/svc"}}, 400),
    ("POST", f"{_NS}/lint", {"json": {"dtab": "/svc", "policies": "- {x: y}"}}, 200),
    ("POST", f"{_NS}/rollback", {"json": {"to": 1}}, 200),
    ("POST", f"{_NS}/rollback", {"json": {"to": 7}}, 404),
    ("POST", f"{_NS}/rollback", {"json": {}}, 400),
    ("GET", "/v1/agents", {}, 200),
    ("GET", "/v1/agents/host7", {}, 200),
    ("GET", "/v1/agents/nobody", {}, 404),
    ("GET", "/v1/sources", {}, 200),
    ("GET", "/v1/health", {}, 200),
    ("GET", "/v1/audit", {}, 200),
    ("GET", "/v1/audit?limit=x", {}, 400),
    ("GET", "/v1/openapi.json", {}, 200),
    ("GET", "/v1/agent", {}, 403),
    ("GET", "/v1/agent", {"by": "host7"}, 400),
    ("GET", "/healthz", {}, 200),
    ("GET", "/readyz", {}, 200),
    ("GET", "/metrics", {}, 200),
    ("GET", "/metrics", {"by": None}, 401),
    ("PUT", _NS, {"json": {}, "by": "reader"}, 403),
    ("GET", "/api/1/dtabs", {}, 200),
    ("PUT", "/api/1/dtabs", {}, 200),
    ("GET", "/api/1/dtabs/default", {}, 200),
    ("GET", "/api/1/dtabs/none", {}, 404),
    ("HEAD", "/api/1/dtabs/default", {}, 200),
    ("HEAD", "/api/1/dtabs/none", {}, 404),
    ("POST", "/api/1/dtabs/new", {"data": b"/a => /b", "headers": DTAB}, 204),
    ("POST", "/api/1/dtabs/new", {"data": b"/a => /b", "headers": DTAB}, 409),
    ("PUT", "/api/1/dtabs/new", {"data": b"/a", "headers": DTAB}, 400),
    ("PUT", "/api/1/dtabs/new", {"data": b"/a => /c", "headers": {**DTAB, "If-Match": "x"}}, 412),
    ("PUT", "/api/1/dtabs/none", {"data": b"/a => /c", "headers": {**DTAB, "If-Match": "x"}}, 404),
    ("DELETE", "/api/1/dtabs/new", {}, 204),
    ("DELETE", "/api/1/dtabs/new", {}, 404),
    ("GET", "/api/1/bind/default?path=/svc/users", {}, 200),
    ("GET", "/api/1/bind/default?path=x", {}, 400),
    ("GET", "/api/1/bind/default?path=/a&dtab=%2Fa=%3E%2Fa", {}, 500),
    ("GET", "/api/1/addr/default?path=/%23/files/users", {}, 200),
    ("GET", "/api/1/resolve/default?path=/svc/users", {}, 200),
    ("GET", "/api/1/delegate/default?path=/svc/users", {}, 200),
    ("GET", "/api/1/delegate?path=/svc/users", {}, 200),
    ("POST", "/api/1/delegate", {"json": {"path": "/a", "dtab": ""}}, 200),
    ("POST", "/api/1/delegate", {"data": b"x"}, 415),
    ("GET", "/api/1/bound-names", {}, 200),
    ("DELETE", f"{_NS}?yes=true", {}, 200),
    ("DELETE", f"{_NS}?yes=true", {}, 404),
]


async def asked(served: Served) -> Judge:
    judge = Judge((await served.get("/v1/openapi.json")).json)
    for method, path, more, status in ASKED:
        said = await served.ask(method, path, **more)
        assert said.status == status, (method, path, said.body)
        judge.check(method, path, said)
        if path == _NS and method == "PUT" and status == 412 and "other" not in path:
            assert said.json["current"]["namespace"] == "default"
    return judge


async def test_every_route_answers_as_the_document_says() -> None:
    async with control(allow="none") as served:
        served.name("users", 1001)
        served.name("bad", 1002)
        async with served.agent() as agent:
            first = await served.ask("PUT", _NS, json={"dtab": TABLE})
            assert first.status == 200
            await served.in_use(agent, "/svc/users")
            judge = await asked(served)
        answered = {(method, path) for method, path, _ in judge.seen}
        document = (await served.get("/v1/openapi.json")).json
        described = {(key.upper(), path) for path, said in document["paths"].items() for key in said}
        listed = {("POST", "/api/1/dtabs"), ("DELETE", "/api/1/dtabs")}
        assert {each for each in described if each[0] != "PARAMETERS"} - answered == listed
