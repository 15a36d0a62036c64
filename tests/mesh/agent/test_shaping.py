"""Shaping through a real agent and Envoy: faults, and what else is done to a name's requests on their way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
import yaml

from scripts.running import eventually
from tests import manual
from tests.host import PATIENCE, Answer, Host, running
from tests.upstream import Upstream, upstream

# The examples of the manual, which must do what it says.
SHOWN = [
    each
    for block in manual.blocks(manual.ROOT / "docs" / "traffic.md")
    if block.kind == "yaml" and block.text.startswith("dtab:") and not block.target
    for each in yaml.safe_load(block.text)["policies"]
]
POLICIES: list[dict[str, object]] = [
    *SHOWN,
    {"match": "/svc/broken", "fault": {"abort": {"status": 418}}},
    {"match": "/svc/some", "fault": {"abort": {"status": 503, "percent": 50}}},
    {"match": "/svc/marked", "fault": {"abort": {"status": 503}, "headers": {"X-Test": "1", "x-who": "me"}}},
    {"match": "/svc/{any}-of-many", "fault": {"abort": {"status": 503}, "headers": {"x-test": "{any}"}}},
    {"match": "/svc/slow", "fault": {"delay": {"fixed": "700ms"}}, "timeout": {"idle": "200ms"}},
    {"match": "/svc/late", "fault": {"delay": {"fixed": "100ms"}}},
    {"match": "/svc/calls", "fault": {"abort": {"grpc_status": 8}}},
    {"match": "/svc/tenants", "rate_limit": {"requests": 2, "per": "1h", "headers": {"x-tenant": "big"}}},
    {"match": "/svc/fill", "rate_limit": {"requests": 1, "per": "300ms"}},
    {"match": "/svc/extreme", "fault": {"delay": {"fixed": "1ms"}, "abort": {"status": 599, "percent": 0}}},
    {"match": "/svc/extreme", "rate_limit": {"requests": 10**9, "per": "50ms", "burst": 10**9}},
    {"match": "/svc/extreme2", "fault": {"delay": {"fixed": "24h", "percent": 0}, "headers": {"x" * 100: '"%\\'}}},
    {"match": "/svc/extreme2", "rate_limit": {"requests": 1, "per": "24h", "headers": {"x": "v" * 4000}}},
    {
        "match": "/svc/made-up",
        "headers": {"response": {"set": {"x-made": "here"}}},
        "fault": {"abort": {"status": 503}},
    },
    {
        "match": "/svc/extreme",
        "headers": {"request": {"set": {f"x-{number}": "%v" * 2000 for number in range(5)} | {"x-empty": ""}}},
    },
    {"match": "/svc/limited-calls", "rate_limit": {"requests": 1, "per": "1h"}},
]
DTAB = "/svc => /#/files"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB, policies=POLICIES) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


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


async def test_an_injected_error_says_that_it_is_one_and_the_service_is_not_asked(shared: Host) -> None:
    async with bound(shared, "broken") as it:
        expected = 418, "fault injected by the policy of broken: an error on purpose"
        assert [told(await shared.call("broken")) for _ in range(5)] == [expected] * 5
        assert it.heard == []


async def test_an_error_may_be_for_a_share_of_the_requests(shared: Host) -> None:
    async with bound(shared, "some"):
        answers = await many(shared, "some", 100)
        assert answers.keys() == {200, 503}
        assert answers[503] > 20


async def test_an_error_may_be_for_requests_with_certain_headers(shared: Host) -> None:
    async with bound(shared, "marked"):
        assert await many(shared, "marked", 5) == {200: 5}
        assert await many(shared, "marked", 5, **{"x-test": "1"}) == {200: 5}
        assert await many(shared, "marked", 5, **{"x-test": "1", "x-who": "you"}) == {200: 5}
        assert await many(shared, "marked", 5, **{"x-test": "1", "x-who": "me"}) == {503: 5}
    async with bound(shared, "one-of-many"):
        assert await many(shared, "one-of-many", 5, **{"x-test": "two"}) == {200: 5}
        assert await many(shared, "one-of-many", 5, **{"x-test": "one"}) == {503: 5}


@pytest.mark.parametrize("name", ["extreme", "extreme2"])
async def test_envoy_takes_what_the_configuration_takes(shared: Host, name: str) -> None:
    async with bound(shared, name):
        assert await many(shared, name, 2) == {200: 2}


async def test_a_fault_as_in_the_manual(shared: Host) -> None:
    async with bound(shared, "payments"):
        assert (await shared.call("payments")).status == 200
        said = "fault injected by the policy of payments: an error on purpose"
        assert told(await shared.call("payments", **{"x-test": "1"})) == (503, said)


async def test_a_delay_holds_a_request_back_and_if_that_ends_it_callers_are_told(shared: Host) -> None:
    async with bound(shared, "late"):
        begun = asyncio.get_running_loop().time()
        assert (await shared.call("late")).body == "late"
        assert asyncio.get_running_loop().time() - begun >= 0.09
    async with bound(shared, "slow") as it:
        # The first request of a name has the listener's idle time.
        assert (await shared.call("slow")).body == "slow"
        it.heard.clear()
        said = "fault injected by the policy of slow: a delay on purpose, and then the time was over"
        assert told(await shared.call("slow")) == (504, said)
        assert it.heard == []


@asynccontextmanager
async def calls(host: Host, name: str) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]]:
    """Of a gRPC service that nobody has called yet."""

    async def say(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
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


async def refusal(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"hello", timeout=10)
    said = dict(refused.value.initial_metadata() or ()) | dict(refused.value.trailing_metadata() or ())
    return refused.value.code(), str(said.get("l5d-err"))


async def test_a_grpc_call_gets_a_grpc_status_and_other_requests_do_not(shared: Host) -> None:
    async with calls(shared, "calls") as call:
        said = "fault injected by the policy of calls: an error on purpose"
        assert await refusal(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, said)
    async with bound(shared, "calls"):
        assert await many(shared, "calls", 5) == {200: 5}


async def test_beyond_its_rate_limit_a_name_is_not_asked(shared: Host) -> None:
    async with bound(shared, "search") as it:
        answers = [told(await shared.call("search")) for _ in range(10)]
        refused = 429, "too many requests for search: the rate limit of its policy is reached"
        assert answers == [(200, "")] * 5 + [refused] * 5
        assert len(it.heard) == 5


async def test_a_rate_limit_may_be_for_requests_with_certain_headers(shared: Host) -> None:
    async with bound(shared, "tenants"):
        assert await many(shared, "tenants", 10, **{"x-tenant": "small"}) == {200: 10}
        assert await many(shared, "tenants", 10) == {200: 10}
        assert await many(shared, "tenants", 10, **{"x-tenant": "big"}) == {200: 2, 429: 8}
        assert await many(shared, "tenants", 10) == {200: 10}


async def test_tokens_come_back(shared: Host) -> None:
    async with bound(shared, "fill"):

        async def refused() -> bool:
            return (await shared.call("fill")).status == 429

        await eventually(refused, PATIENCE, "never limited")
        await shared.until("fill", "fill")


async def test_a_limited_grpc_call_is_told_so(shared: Host) -> None:
    async with calls(shared, "limited-calls") as call:
        assert await call(b"again", timeout=10) == b"heard again"
        said = "too many requests for limited-calls: the rate limit of its policy is reached"
        assert await refusal(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, said)


async def test_headers_are_set_added_and_removed_as_in_the_manual(shared: Host) -> None:
    async with bound(shared, "book-shop") as it:
        it.answers = {"cache-control": "public", "x-kept": "yes"}
        sent = {"x-tenant": "forged", "via": "1.0 caller", "x-debug": "1", "x-kept": "yes"}
        answer = await shared.call("book-shop", **sent)
        [heard] = it.heard
        assert heard.headers["x-tenant"] == ["book"]
        assert heard.headers["x-share"] == ["5 % off"]
        assert ",".join(heard.headers["via"]) == "1.0 caller,1.1 tieline"
        assert "x-debug" not in heard.headers
        assert heard.headers["x-kept"] == ["yes"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert answer.headers["x-kept"] == "yes"


async def test_headers_of_answers_are_set_on_the_proxys_own_too(shared: Host) -> None:
    async with bound(shared, "made-up"):
        answer = await shared.call("made-up")
        assert (answer.status, answer.headers["x-made"]) == (503, "here")
        assert answer.err.startswith("fault injected")


async def test_explain_does_not_show_the_values_of_headers(shared: Host) -> None:
    answer = json.dumps(await shared.json("/explain?name=book-shop"))
    assert '{"x-share": "***", "x-tenant": "***"}' in answer
    assert "5 % off" not in answer
