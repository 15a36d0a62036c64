"""Shaping through a real agent and Envoy: faults, and what else is done to a name's requests on their way."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import grpc.aio
import pytest
from yarl import URL

from demo.calls import load
from scripts.ports import free_port
from scripts.running import eventually
from tests.host import PATIENCE, Answer, Host, host, rewrite, running
from tests.shaped import SHOWN, bound, calls, heard, many, told
from tests.upstream import upstream

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
    {"match": "/svc/extreme", "rewrite": {"prefix": "/" + "a.(*" * 249, "to": "/" + "\\1" * 499, "host": "h" * 255}},
    {"match": "/svc/extreme", "redirect": {"prefix": "/" + "b.(*" * 249, "to": "/" + "\\2" * 499, "host": "[::1]"}},
    {"match": "/svc/far", "redirect": {"path": "/" + "x?%" * 333, "port": 65535}},
    {"match": "/svc/tried", "rewrite": {"prefix": "/api/", "to": "/v2"}, "retries": {"statuses": [500]}},
    {"match": "/svc/tried", "ejection": None},
    {"match": "/svc/nowhere", "rewrite": {"host": "elsewhere"}},
    {"match": "/svc/moved", "redirect": {"path": "/new?x=1", "port": 8443, "status": 303}},
    {"match": "/svc/limited-calls", "rate_limit": {"requests": 1, "per": "1h"}},
]
DTAB = "/svc => /#/files"
IDENTIFIERS: dict[str, dict[str, object]] = {
    "http": {"kind": "host"},
    "path": {"kind": "path"},
    "consume": {"kind": "path", "consume": True},
}
PORTS = {name: free_port() for name in IDENTIFIERS}


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    routers = [{"name": name, "port": PORTS[name], "identifier": each} for name, each in IDENTIFIERS.items()]
    with running(DTAB, policies=POLICIES, routers=routers) as started:
        asyncio.run(started.agent.until_ready())
        yield replace(started, agent=replace(started.agent, port=PORTS["http"]))
        asyncio.run(started.no_nacks())


async def test_an_injected_error_says_that_it_is_one_and_the_service_is_not_asked(shared: Host) -> None:
    async with bound(shared, "broken") as it:
        expected = 418, "fault injected by policy: an error on purpose"
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
        said = "fault injected by policy: an error on purpose"
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
        said = "fault injected by policy: a delay on purpose, and then the time was over"
        assert told(await shared.call("slow")) == (504, said)
        assert it.heard == []


async def refusal(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"hello", timeout=10)
    said = dict(refused.value.initial_metadata() or ()) | dict(refused.value.trailing_metadata() or ())
    return refused.value.code(), str(said.get("l5d-err"))


async def test_a_grpc_call_gets_a_grpc_status_and_other_requests_do_not(shared: Host) -> None:
    async with calls(shared, "calls") as call:
        said = "fault injected by policy: an error on purpose"
        assert await refusal(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, said)
    async with bound(shared, "calls"):
        assert await many(shared, "calls", 5) == {200: 5}


async def test_beyond_its_rate_limit_a_name_is_not_asked(shared: Host) -> None:
    async with bound(shared, "search") as it:
        answers = [told(await shared.call("search")) for _ in range(10)]
        refused = 429, "too many requests: the rate limit of the policy is reached"
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
        said = "too many requests: the rate limit of the policy is reached"
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


async def get(router: str, path: str, host: str = "nobody") -> Answer:
    url = f"http://127.0.0.1:{PORTS[router]}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url, encoded=True), headers={"host": host}, allow_redirects=False) as response,
    ):
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.text())


@pytest.mark.parametrize(
    ("router", "path", "sent"),
    [
        ("http", "/api/list?all=/api", "/list?all=/api"),
        ("http", "/api", "/"),
        ("http", "/api?x", "/?x"),
        ("http", "/api/", "/"),
        ("http", "/apis/x", "/apis/x"),
        ("http", "/x/api/y", "/x/api/y"),
        ("path", "/users-behind/api/x", "/users-behind/api/x"),
        ("consume", "/users-behind/api/x?y", "/x?y"),
        ("consume", "/users-behind/api", "/"),
        ("consume", "/users-behind/apis?y", "/apis?y"),
        ("consume", "/users-behind", "/"),
        ("consume", "/users-behind/api/api", "/api"),
    ],
)
async def test_paths_and_hosts_are_rewritten_as_in_the_manual(shared: Host, router: str, path: str, sent: str) -> None:
    async with bound(shared, "users-behind") as it:
        assert (await get(router, path, "users-behind")).status == 200
        [heard] = it.heard
        assert (heard.path, heard.headers["host"]) == (sent, ["users.internal"])


async def test_rewritten_requests_are_retried(shared: Host) -> None:
    async with bound(shared, "tried") as it:
        it.status = 500
        assert (await shared.call("tried", "/api/x")).status == 500
        assert [heard.path for heard in it.heard] == ["/v2/x"] * 3
        assert (await shared.call("tried", "/api")).status == 500
        assert it.heard[-1].path == "/v2"


async def test_errors_of_a_name_whose_host_is_rewritten_tell_the_new_one(shared: Host) -> None:
    shared.put("nowhere", free_port())
    assert told(await shared.call("nowhere")) == (503, "no endpoint of elsewhere could be reached")


@pytest.mark.parametrize(
    ("router", "host", "path", "status", "location"),
    [
        ("http", "old-docs", "/a?b=c", 301, "https://docs.example.com/a?b=c"),
        ("http", "old-docs:4140", "/", 301, "https://docs.example.com/"),
        ("http", "shop", "/v1/cart?x=/v1", 308, "http://shop/v2/cart?x=/v1"),
        ("http", "shop", "/v1", 308, "http://shop/v2"),
        ("http", "moved", "/old?y=2", 303, "http://moved:8443/new?x=1"),
        ("http", "far", "/", 307, "http://far:65535/" + "x?%" * 333),
        ("consume", "example.com", "/shop/v1/cart?x", 308, "http://example.com/shop/v2/cart?x"),
        ("consume", "example.com", "/old-docs/a", 301, "https://docs.example.com/old-docs/a"),
    ],
)
async def test_callers_are_redirected(
    shared: Host, router: str, host: str, path: str, status: int, location: str
) -> None:
    name = host.partition(":")[0] if router == "http" else path.split("/")[1]
    async with upstream(name) as it:
        shared.put(name, it.port)
        answer = await get(router, path, host)
        assert (answer.status, answer.headers["location"]) == (status, location)
        assert it.heard == []


async def test_what_is_not_below_the_prefix_of_a_redirect_goes_to_the_service(shared: Host) -> None:
    async with bound(shared, "shop") as it:
        assert [(await shared.call("shop", path)).status for path in ("/v2/cart", "/v10", "/", "/x/v1")] == [200] * 4
        assert (await get("consume", "/shop/v2/v1")).status == 200
        assert [heard.path for heard in it.heard] == ["/v2/cart", "/v10", "/", "/x/v1", "/v2/v1"]


async def test_what_holds_for_a_name_holds_for_requests_that_bring_a_table(shared: Host) -> None:
    async with upstream("next") as it:
        shared.put("elsewhere", it.port)
        shared.put("users-behind", free_port())
        table = {"l5d-dtab": "/svc => /#/files/elsewhere"}
        answer = await shared.call("users-behind", "/api/x", **table)
        assert (answer.body, it.heard[-1].path, it.heard[-1].headers["host"]) == ("next", "/x", ["users.internal"])
        broken = 418, "fault injected by policy: an error on purpose"
        shared.put("broken", it.port)
        assert told(await shared.call("broken", **table)) == broken
        assert (await shared.call("made-up", **table)).headers["x-made"] == "here"
        async with aiohttp.ClientSession() as session:
            for name, location in (
                ("old-docs", "https://docs.example.com/a?b"),
                ("shop", "http://shop/v2"),
                ("shop:4140", "http://shop:4140/v2"),
                ("moved", "http://moved:8443/new?x=1"),
            ):
                url = shared.agent.url + ("/v1" if name.startswith("shop") else "/a?b")
                async with session.get(url, headers={"host": name, **table}, allow_redirects=False) as response:
                    assert response.headers["location"] == location
        gone = await shared.call("shop", **{"l5d-dtab": "/svc/shop => !"})
        assert gone.status == 503


async def test_shaping_is_changed_under_load_without_a_lost_request() -> None:
    policies: list[dict[str, object]] = [{"match": "/svc/users", "headers": {"request": {"set": {"x-version": "one"}}}}]
    async with host(policies=policies) as started, upstream("users") as users, upstream("copy") as mirror:
        started.put("users", users.port)
        started.put("copy", mirror.port)
        await started.until("users", "users")
        async with load(started.agent.url, "users") as seen:
            changed: dict[str, object] = {"match": "/svc/users", "mirror": [{"to": "/svc/copy"}]}
            changed |= {
                "rate_limit": {"requests": 10**9},
                "fault": {"delay": {"fixed": "1ms"}},
                "rewrite": {"host": "two"},
            }
            rewrite(started.agent.config, policies=[*policies, changed])
            started.agent.process.send_signal(signal.SIGHUP)
            await heard(mirror, 50)
            assert mirror.heard[-1].headers["x-version"] == ["one"]
            assert users.heard[-1].headers["host"] == ["two"]
            rewrite(started.agent.config, policies=[])
            started.agent.process.send_signal(signal.SIGHUP)
            await eventually(lambda: users.heard[-1].headers["host"] == ["users"], PATIENCE, "the policy stays")
        assert not seen.failed
        assert "x-version" not in users.heard[-1].headers
        await started.no_nacks()
