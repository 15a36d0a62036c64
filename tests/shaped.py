"""For tests of policies: names with one instance each, and the examples of the manual."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import yaml

from scripts.running import eventually
from tests import manual
from tests.host import PATIENCE, Answer, Host
from tests.upstream import Upstream, upstream

# The examples of the manual, which must do what it says. Those with certificates are in test_origination.
SHOWN = [
    each
    for block in manual.blocks(manual.ROOT / "docs" / "traffic.md")
    if block.kind == "yaml" and block.text.startswith("dtab:") and not block.target
    for each in yaml.safe_load(block.text).get("policies", ())
    if "tls" not in each
]


@asynccontextmanager
async def bound(host: Host, name: str) -> AsyncIterator[Upstream]:
    """One instance of a name that nobody has called yet."""
    async with upstream(name) as it:
        host.put(name, it.port)
        await known(host, name, it.port)
        it.heard.clear()
        it.arrived.clear()
        yield it


async def known(host: Host, name: str, port: int) -> None:
    async def is_there() -> bool:
        return f'"port": {port},' in json.dumps(await host.json(f"/explain?name={name}"))

    await eventually(is_there, PATIENCE, f"{name} is not known")


async def many(host: Host, name: str, count: int, **headers: str) -> Counter[int]:
    return Counter([(await host.call(name, **headers)).status for _ in range(count)])


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.err


@asynccontextmanager
async def calls(
    host: Host, name: str, seen: list[bytes] | None = None
) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]]:
    """Of a gRPC service that nobody has called yet."""

    async def say(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if seen is not None:
            seen.append(request)
        return b"heard " + request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say, request_deserializer=bytes, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    host.put(name, port)
    await known(host, name, port)
    options = [("grpc.default_authority", name)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{host.agent.port}", options=options) as channel:
            call = channel.unary_unary("/t.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
            yield call
    finally:
        await server.stop(None)


async def heard(it: Upstream, count: int) -> None:
    await eventually(lambda: len(it.heard) >= count, PATIENCE, f"{it.name} got {len(it.heard)} requests, not {count}")
