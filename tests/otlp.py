"""A collector that speaks OTLP, over gRPC and over HTTP, and keeps every span it gets.

The messages are those that come with xds-protos; the wheel opentelemetry-proto writes to the same files, so that it
would depend on the order of installation which of the two there is. Theirs are older: what is
`instrumentation_library_spans` there is `scope_spans` now, with the same numbers on the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

METHOD = "Export"
SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass(slots=True)
class Collector:
    grpc_port: int = 0
    http_port: int = 0
    spans: list[tuple[str, Span]] = field(default_factory=list)
    """Each with its `service.name`."""
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            said = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.instrumentation_library_spans:
                self.spans += [(said.get("service.name", ""), span) for span in scope.spans]
        self.came.set()
        return ExportTraceServiceResponse()

    async def over_grpc(self, request: ExportTraceServiceRequest, _context: object) -> ExportTraceServiceResponse:
        return self.take(request)

    async def over_http(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        answer = self.take(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    async def until(self, count: int) -> list[tuple[str, Span]]:
        async with asyncio.timeout(20):
            while len(self.spans) < count:
                self.came.clear()
                await self.came.wait()
        return self.spans


def tags(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    it = Collector()
    server = grpc.aio.server()
    export = grpc.unary_unary_rpc_method_handler(
        it.over_grpc,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: export}),))
    it.grpc_port = server.add_insecure_port("127.0.0.1:0")
    app = web.Application()
    app.router.add_post("/v1/traces", it.over_http)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await server.start()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        it.http_port = runner.addresses[0][1]
        yield it
    finally:
        await server.stop(0)
        await runner.cleanup()
