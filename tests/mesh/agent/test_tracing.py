"""Spans of a real agent at a collector that speaks OTLP: whose trace they belong to, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from scripts.ports import free_port
from tests.host import Host, host
from tests.otlp import Collector, collector, tags
from tests.upstream import upstream

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
SECRET = "hunter2"


@asynccontextmanager
async def tracing(spans: Collector, protocol: str, percent: float) -> AsyncIterator[Host]:
    port = spans.grpc_port if protocol == "grpc" else spans.http_port
    said = {"otlp": f"http://127.0.0.1:{port}", "protocol": protocol, "service": "proxies", "sample_percent": percent}
    async with host(tracing=said) as agent:
        yield agent
        await agent.no_nacks()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_span_continues_the_callers_trace_and_tells_of_the_name(protocol: str) -> None:
    async with collector() as spans, upstream("one") as one, tracing(spans, protocol, 0) as agent:
        agent.put("users", one.port)
        # The first request asks the brain, which has a span of its own.
        await agent.call("users")
        await agent.call("users", f"/list?token={SECRET}", traceparent=SAMPLED, authorization=SECRET)
        ((service, span),) = await spans.until(1)
    assert service == "proxies"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == "/svc/users"
    told = tags(span)
    assert (told["tieline.router"], told["tieline.name"], told["tieline.bound"]) == (
        "http",
        "/svc/users",
        "/#/files/users",
    )
    assert (told["url.path"], told["http.method"], told["http.status_code"]) == ("/list", "GET", "200")
    assert SECRET not in str(span)
    # The service belongs to our span, not to the caller's.
    (_, sent) = one.headers("traceparent")
    assert sent.split("-")[1:3] == [TRACE, span.span_id.hex()]


async def test_the_callers_decision_holds_and_b3_is_passed_on() -> None:
    b3 = {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "1", "b3": f"{TRACE}-{PARENT}-1"}
    async with collector() as spans, upstream("one") as one, tracing(spans, "grpc", 100) as agent:
        agent.put("users", one.port)
        await agent.call("users", traceparent=NOT_SAMPLED)
        await agent.call("users", **b3)
        found = await spans.until(1)
    # The first was not to be sampled; the second began a trace.
    assert {span.trace_id.hex() == TRACE for _, span in found} == {False}
    assert {name: one.headers(name)[-1] for name in b3} == b3
    assert one.headers("traceparent")[0].split("-")[1] == TRACE
    assert one.headers("traceparent")[0].endswith("-00")


@asynccontextmanager
async def zipkin(percent: float) -> AsyncIterator[tuple[Host, asyncio.Queue[dict[str, Any]]]]:
    """A collector of Zipkin's JSON (v2), and an agent that sends it spans."""
    spans: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        for span in await request.json():
            spans.put_nowait(span)
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/api/v2/spans", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    try:
        async with host(tracing={"zipkin": f"http://127.0.0.1:{port}", "sample_percent": percent}) as agent:
            yield agent, spans
            await agent.no_nacks()
    finally:
        await runner.cleanup()


B3 = {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "1"}


@pytest.mark.parametrize("context", [B3, {"traceparent": SAMPLED}], ids=["B3", "W3C"])
async def test_zipkins_format_continues_b3_and_w3c(context: dict[str, str]) -> None:
    async with upstream("one") as one, zipkin(0) as (agent, spans):
        agent.put("users", one.port)
        await agent.call("users")
        await agent.call("users", f"/list?token={SECRET}", **context)
        async with asyncio.timeout(20):
            span = await spans.get()
    assert (span["traceId"], span["parentId"], span["name"]) == (TRACE, PARENT, "/svc/users")
    assert (span["tags"]["tieline.bound"], span["tags"]["url.path"]) == ("/#/files/users", "/list")
    assert SECRET not in str(span)
    assert one.headers("x-b3-traceid")[-1] == TRACE
    assert one.headers("x-b3-spanid")[-1] == span["id"]
    assert one.headers("x-b3-sampled")[-1] == "1"
    assert one.headers("traceparent")[-1] == f"00-{TRACE}-{span['id']}-01"


async def test_zipkins_format_heeds_the_share_and_who_decides_against_it() -> None:
    async with upstream("one") as one, zipkin(100) as (agent, spans):
        agent.put("users", one.port)
        await agent.call("users", **(B3 | {"x-b3-sampled": "0"}))
        await agent.call("users", **{"x-request-id": "0a1b2c3d-0000-4000-8000-000000000000"})
        async with asyncio.timeout(20):
            assert (await spans.get())["traceId"] != TRACE
    assert one.headers("x-b3-traceid")[0] == TRACE
    assert one.headers("x-request-id")[-1] == "0a1b2c3d-0000-4000-8000-000000000000"


async def test_a_collector_that_is_away_harms_nobody() -> None:
    async with upstream("one") as one, tracing(Collector(grpc_port=free_port()), "grpc", 100) as agent:
        agent.put("users", one.port)
        for _ in range(20):
            assert (await agent.call("users")).status == 200


async def test_without_tracing_headers_are_passed_on_as_they_are() -> None:
    async with upstream("one") as one, host() as agent:
        agent.put("users", one.port)
        await agent.call("users", traceparent=SAMPLED)
        assert one.headers("traceparent") == [SAMPLED]
