"""What an API server answers from a `Store`: list, watch, get, create, replace, patch, delete, and what there is.

Raises `Refused` for everything that is answered with a Status.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes import kubernetes_discovery as discovery
from tests.fakes.kubernetes_selection import Selection, Unparsable, selection
from tests.fakes.kubernetes_store import (
    KINDS,
    NAMESPACES,
    SERVICES,
    Expired,
    Kind,
    Missing,
    Record,
    Store,
    Watch,
    dumped,
    has,
)

REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}
REASONS |= {406: "NotAcceptable", 409: "Conflict", 410: "Expired", 415: "UnsupportedMediaType", 422: "Invalid"}
REASONS |= {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
TOO_OLD = "The provided continue parameter is too old to display a consistent list result. You can start a new list."
NO_WATCH_LIST = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
WATCH_SECONDS = 1800.0
BOOKMARK_BEFORE_END_SECONDS = 1.0
READS = {"labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "watch"}
READS |= {"allowWatchBookmarks", "timeoutSeconds", "sendInitialEvents", "pretty", "timeout", "includeObject"}
WRITES = {"fieldManager", "fieldValidation", "pretty", "timeout", "propagationPolicy", "gracePeriodSeconds", "force"}


class Unknown(Exception):
    """Nothing a test may ask; recorded."""


class Refused(Exception):
    def __init__(self, code: int, message: str, reason: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.reason, self.more = code, message, reason or REASONS.get(code, ""), more

    def status(self) -> dict[str, Any]:
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return head | {"message": self.message, "reason": self.reason, "code": self.code} | self.more

    def response(self) -> web.Response:
        return web.json_response(self.status(), status=self.code)


@dataclass(frozen=True, slots=True)
class Target:
    kind: Kind
    namespace: str = ""
    name: str = ""

    @property
    def scope(self) -> str:
        return f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"

    @property
    def full(self) -> str:
        return f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural

    def details(self) -> dict[str, str]:
        found = {"name": self.name, "group": self.kind.group, "kind": self.kind.plural}
        return {key: value for key, value in found.items() if value}


def target(path: str) -> Target | None:
    """The object or collection a path is about; None if it is none we have."""
    match path.strip("/").split("/"):
        case ["api", "v1", *rest]:
            group = ""
        case ["apis", "discovery.k8s.io", "v1", *rest]:
            group = "discovery.k8s.io"
        case _:
            return None
    match rest:
        case [plural]:
            namespace, name = "", ""
        case ["namespaces", name]:
            namespace, plural = "", "namespaces"
        case ["namespaces", namespace, plural]:
            name = ""
        case ["namespaces", namespace, plural, name]:
            pass
        case _:
            return None
    kind = KINDS.get(plural)
    return Target(kind, namespace, name) if kind is not None and kind.group == group else None


@dataclass(slots=True)
class Api:
    store: Store
    gone_as_status: bool = False

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        wanted = target(request.path)
        if wanted is None:
            return self._discovered(request)
        unknown = set(request.query) - (READS if request.method == "GET" else WRITES)
        if unknown:
            raise Unknown(f"the fake knows no {sorted(unknown)} for {request.method}")
        try:
            return await self._about(wanted, request)
        except Missing as missing:
            message = f'{wanted.full} "{missing}" not found'
            raise Refused(404, message, details=wanted.details()) from None
        except Unparsable as unparsable:
            raise Refused(400, str(unparsable)) from None

    def _discovered(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            raise Unknown("the server could not find the requested resource")
        found = discovery.DOCUMENTS.get(request.path.rstrip("/"))
        if found is None:
            raise Unknown("the server could not find the requested resource")
        return web.json_response(found)

    async def _about(self, wanted: Target, request: web.BaseRequest) -> web.StreamResponse:
        match request.method:
            case "GET" if request.query.get("watch") in ("true", "True", "1"):
                return await self._watch(wanted, request)
            case "GET" if wanted.name:
                record = self.store.get(wanted.kind, wanted.namespace, wanted.name)
                return _json(record.json)
            case "GET":
                return _json(self._list(wanted, request))
            case "POST" if not wanted.name:
                return await self._create(wanted, request)
            case "PUT" if wanted.name:
                return await self._replace(wanted, await _sent(request))
            case "PATCH" if wanted.name:
                return await self._patch(wanted, request)
            case "DELETE" if wanted.name:
                return self._delete(wanted)
        raise Refused(405, "the server does not allow this method on the requested resource")

    # Reading

    def _list(self, wanted: Target, request: web.BaseRequest) -> bytes:
        query = request.query
        chosen = _selection(wanted, query)
        limit, start, version = int(query.get("limit", "0")), "", query.get("resourceVersion", "")
        if query.get("continue"):
            if version not in ("", "0"):
                raise Refused(400, "specifying resource version is not allowed when using continue")
            number, start = _place(query["continue"])
            records, number = self._continued(wanted.kind, number, start)
        else:
            limit = 0 if version == "0" else limit  # served from the watch cache, which knows no limit
            records, number = self._at(wanted.kind, version, query.get("resourceVersionMatch", ""))
        metadata: dict[str, Any] = {"resourceVersion": str(number)}
        page, rest = _page([record for record in records if record.place > start and has(chosen, record)], limit)
        if rest:
            self.store.keep(wanted.kind, number)
            metadata["continue"] = _token(number, page[-1].place)
            if not chosen.selects:
                metadata["remainingItemCount"] = rest
        head = {"kind": f"{wanted.kind.kind}List", "apiVersion": wanted.kind.api_version, "metadata": metadata}
        return dumped(head)[:-1] + b',"items":[' + b",".join(record.json for record in page) + b"]}"

    def _at(self, kind: Kind, version: str, match: str) -> tuple[list[Record], int]:
        number = _number(version)
        if match and not version:
            raise Refused(422, "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless ...")
        if number > self.store.version:
            raise Refused(504, f"Too large resource version: {number}, current: {self.store.version}")
        if match != "Exact":
            number = self.store.version
        try:
            return list(self.store.snapshot(kind, number)), number
        except Expired as expired:
            raise Refused(410, str(expired)) from None

    def _continued(self, kind: Kind, number: int, start: str) -> tuple[list[Record], int]:
        if number < 0:
            number = self.store.version
        try:
            return list(self.store.snapshot(kind, number)), number
        except Expired:
            raise Refused(410, TOO_OLD, metadata={"continue": _token(-1, start)}) from None

    async def _watch(self, wanted: Target, request: web.BaseRequest) -> web.StreamResponse:
        query = request.query
        if "sendInitialEvents" in query:
            message = f'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: {NO_WATCH_LIST}'
            raise Refused(422, message)
        chosen = _selection(wanted, query)
        version = _number(query.get("resourceVersion", ""))
        watch = Watch(wanted.kind, chosen, version, query.get("allowWatchBookmarks") in ("true", "True", "1"))
        try:
            self.store.watch(watch, replay=version == 0)
        except Expired as expired:
            if self.gone_as_status:
                raise Refused(410, str(expired)) from None
            self.gone(watch, str(expired))
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await self._pour(watch, response, float(query.get("timeoutSeconds") or WATCH_SECONDS))
            if watch.breaks and request.transport is not None:
                request.transport.close()
            else:
                await response.write_eof()
        except ConnectionResetError:
            pass  # whoever watched has gone
        finally:
            self.store.leave(watch)
            watch.told.set()
        return response

    def gone(self, watch: Watch, message: str) -> None:
        watch.say(b'{"type":"ERROR","object":%s}\n' % dumped(Refused(410, message).status()))
        watch.end()

    async def _pour(self, watch: Watch, response: web.StreamResponse, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        bookmark_at = deadline - BOOKMARK_BEFORE_END_SECONDS if watch.bookmarks else deadline
        while not (watch.ended and not watch.pending):
            try:
                async with asyncio.timeout_at(min(bookmark_at, deadline)):
                    await watch.wake.wait()
            except TimeoutError:
                if bookmark_at >= deadline:
                    return
                watch.bookmark(self.store.version)
                bookmark_at = deadline
            if text := watch.take():
                await response.write(text)
            watch.told.set()

    # Writing

    async def _create(self, wanted: Target, request: web.BaseRequest) -> web.Response:
        body = await _sent(request)
        name = _name(body)
        named = Target(wanted.kind, wanted.namespace, name)
        if wanted.kind.namespaced:
            if not wanted.namespace:
                raise Refused(405, "the server does not allow this method on the requested resource")
            self._namespace(wanted.namespace)
        if (wanted.namespace, name) in self.store.shelves[wanted.kind.plural].records:
            raise Refused(409, f'{named.full} "{name}" already exists', "AlreadyExists", details=named.details())
        record = self.store.put(wanted.kind, wanted.namespace, name, defaulted(wanted.kind, name, body))
        return _json(record.json, 201)

    def _namespace(self, name: str) -> None:
        try:
            self.store.get(NAMESPACES, "", name)
        except Missing:
            details = {"name": name, "kind": "namespaces"}
            raise Refused(404, f'namespaces "{name}" not found', details=details) from None

    async def _replace(self, wanted: Target, body: dict[str, Any]) -> web.Response:
        before = self.store.get(wanted.kind, wanted.namespace, wanted.name)
        metadata = body.get("metadata") or {}
        if str(metadata.get("resourceVersion") or before.version) != str(before.version):
            message = f'Operation cannot be fulfilled on {wanted.full} "{wanted.name}": the object has been modified; '
            message += "please apply your changes to the latest version and try again"
            raise Refused(409, message, details=wanted.details())
        if _name(body) != wanted.name:
            raise Refused(400, "the name of the object does not match the name on the URL")
        kept = {key: before.body["metadata"][key] for key in ("uid", "creationTimestamp", "resourceVersion")}
        same = {**body, "metadata": {**metadata, "namespace": wanted.namespace, **kept}} if wanted.namespace else body
        if same == before.body:
            return _json(before.json)  # nothing changed: nothing is written, and nobody is told
        return _json(self.store.put(wanted.kind, wanted.namespace, wanted.name, body).json)

    async def _patch(self, wanted: Target, request: web.BaseRequest) -> web.Response:
        media = request.content_type
        if media not in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
            raise Refused(415, f"the body of the request was in an unknown format: {media}")
        before = self.store.get(wanted.kind, wanted.namespace, wanted.name)
        return await self._replace(wanted, merged(before.body, json.loads(await request.read())))

    def _delete(self, wanted: Target) -> web.Response:
        record = self.store.delete(wanted.kind, wanted.namespace, wanted.name)
        if wanted.kind is SERVICES:
            return _json(record.json)
        details = wanted.details() | {"uid": record.body["metadata"]["uid"]}
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return web.json_response(head | {"details": details})


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def defaulted(kind: Kind, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the API server adds to a new Service."""
    if kind is not SERVICES:
        return dict(body)
    spec = {"type": "ClusterIP", **(body.get("spec") or {})}
    if spec["type"] != "ExternalName":
        spec.setdefault("clusterIP", cluster_ip(name))
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    ports = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or ()]
    return {**body, "spec": {**spec, "ports": ports} if ports else spec, "status": {"loadBalancer": {}}}


def cluster_ip(name: str) -> str:
    number = sum((place + 1) * ord(letter) for place, letter in enumerate(name))
    return f"10.96.{number // 250 % 250}.{number % 250 + 1}"


async def _sent(request: web.BaseRequest) -> dict[str, Any]:
    # Without a type it is taken for JSON, as the API server does.
    if request.content_type != "application/json" and "Content-Type" in request.headers:
        raise Refused(415, f"the body of the request was in an unknown format: {request.content_type}")
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise Refused(400, f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "couldn't get version/kind; json parse error: no object")
    return body


def _name(body: Mapping[str, Any]) -> str:
    name = (body.get("metadata") or {}).get("name")
    if not name:
        raise Refused(422, "metadata.name: Required value: name or generateName is required")
    return str(name)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _selection(wanted: Target, query: Mapping[str, str]) -> Selection:
    fields = query.get("fieldSelector", "")
    if wanted.name:  # a watch of one object
        fields = f"metadata.name={wanted.name}"
    return selection(wanted.namespace, query.get("labelSelector", ""), fields)


def _number(version: str) -> int:
    if version and not version.isdecimal():
        raise Refused(400, f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: invalid syntax')
    return int(version or "0")


def _page(records: list[Record], limit: int) -> tuple[list[Record], int]:
    page = records[:limit] if limit else records
    return page, len(records) - len(page)


def _token(version: int, start: str) -> str:
    return base64.urlsafe_b64encode(dumped({"v": "meta.k8s.io/v1", "rv": version, "start": start})).decode().rstrip("=")


def _place(token: str) -> tuple[int, str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"])
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "continue key is not valid: illegal base64 data") from None
