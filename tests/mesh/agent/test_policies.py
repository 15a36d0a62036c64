"""Policies through a real agent and Envoy: each setting does to requests what the manual says, and no more."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from demo.calls import load
from scripts.ports import free_port
from scripts.running import TIELINE, eventually
from tests.host import PATIENCE, Host, host, rewrite, running
from tests.upstream import Upstream, upstream

POLICIES = [
    {"match": "/svc/hasty", "timeout": {"request": "200ms"}},
    {"match": "/svc/silent", "timeout": {"request": None, "idle": "200ms"}},
    {
        "match": "/svc/tries",
        "timeout": {"per_try": "200ms"},
        "retries": {"conditions": ["connect-failure", "gateway-error"]},
        "ejection": None,
    },
    {"match": "/svc/again", "retries": {"statuses": [500]}, "ejection": None},
    {"match": "/svc/again/all", "retries": {"methods": ["GET", "POST"]}},
    {"match": "/svc/again-all", "retries": {"statuses": [500], "methods": ["GET", "POST"]}, "ejection": None},
    {"match": "/svc/once", "retries": {"num_retries": 0}, "ejection": None, "balancing": {"policy": "round_robin"}},
    {"match": "/svc/narrow", "limits": {"requests": 1}},
    {"match": "/#/files/inner", "limits": {"requests": 1}},
    {"match": "/svc/strict", "ejection": {"consecutive_5xx": 2, "max_share": 100, "base_time": "30s"}},
    {"match": "/svc/turns", "balancing": {"policy": "round_robin"}},
    {"match": "/svc/random", "balancing": {"policy": "random"}},
    {"match": "/svc/ring", "balancing": {"policy": "ring_hash", "hash_on": [{"header": "x-user"}]}},
    {"match": "/svc/sticky", "balancing": {"policy": "maglev", "hash_on": [{"cookie": "s", "ttl": "1h"}]}},
    {"match": "/svc/near", "balancing": {"policy": "maglev", "hash_on": [{"source": True}]}},
    {"match": "/svc/slow", "balancing": {"slow_start": {"window": "5s"}}},
    {"match": "/svc/slowly", "balancing": {"policy": "round_robin", "slow_start": {"window": "5s"}}},
    {"match": "/svc/checked", "health_check": {"interval": "100ms", "unhealthy_after": 1, "healthy_after": 1}},
    {"match": "/svc/calls", "retries": {"conditions": ["unavailable"]}, "timeout": {"grpc": "500ms"}},
]
DTAB = "/svc => /#/files ; /svc/wide => /#/files/narrow ; /svc/outer => /#/files/inner"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB, policies=POLICIES) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


@asynccontextmanager
async def pair(host: Host, name: str) -> AsyncIterator[tuple[Upstream, Upstream]]:
    """Two instances, of which the second is there to fail."""
    async with upstream("good") as good, upstream("bad") as bad:
        host.put(name, good.port, bad.port)
        await until_known(host, name, 2)
        yield good, bad


async def until_known(host: Host, name: str, endpoints: int) -> None:
    async def known() -> bool:
        answer = await host.json(f"/explain?name={name}")
        said = answer["endpoints"]
        assert isinstance(said, dict)
        return any(len(each["endpoints"]) == endpoints for each in said.values())

    await eventually(known, PATIENCE, f"{name} has not {endpoints} endpoints")


async def many(host: Host, name: str, count: int, method: str = "GET", **headers: str) -> Counter[tuple[int, str]]:
    answers: Counter[tuple[int, str]] = Counter()
    for _ in range(count):
        answer = await host.call(name, method=method, **headers)
        answers[answer.status, answer.body if answer.status == 200 else answer.err] += 1
    return answers


async def test_a_request_timeout_holds_for_the_names_it_was_set_for_alone(shared: Host) -> None:
    async with upstream("late") as late:
        shared.put("hasty", late.port)
        shared.put("patient", late.port)
        late.free.clear()
        async with asyncio.TaskGroup() as tasks:
            patient = tasks.create_task(shared.call("patient"))
            hasty = await shared.call("hasty")
            late.free.set()
        assert (hasty.status, hasty.err) == (504, "hasty did not answer in time")
        assert patient.result().status == 200


async def test_a_silent_request_ends_after_the_idle_time(shared: Host) -> None:
    async with upstream("mute") as mute:
        shared.put("silent", mute.port)
        # The first request of a name that is not bound yet has the listener's idle time.
        assert (await shared.call("silent")).status == 200
        mute.free.clear()
        assert (await shared.call("silent")).status == 504


async def test_an_attempt_that_takes_too_long_is_tried_elsewhere_unless_it_is_a_post(shared: Host) -> None:
    async with pair(shared, "tries") as (good, bad):
        bad.free.clear()
        assert await many(shared, "tries", 10) == {(200, "good"): 10}
        assert bad.asked["GET"] > 0
        posts = await many(shared, "tries", 10, "POST")
        assert posts[200, "good"] == good.asked["POST"] > 0
        assert posts[504, "tries did not answer in time"] == bad.asked["POST"] > 0
        assert good.asked["POST"] + bad.asked["POST"] == 10, "a POST was sent twice"


async def test_statuses_are_retried_for_idempotent_methods(shared: Host) -> None:
    async with pair(shared, "again") as (good, bad):
        bad.status = 500
        assert await many(shared, "again", 10) == {(200, "good"): 10}
        assert bad.asked["GET"] > 0
        await many(shared, "again", 10, "POST")
        assert good.asked["POST"] + bad.asked["POST"] == 10


async def test_a_post_is_sent_again_where_that_is_said(shared: Host) -> None:
    async with pair(shared, "again-all") as (_, bad):
        bad.status = 500
        assert await many(shared, "again-all", 10, "POST") == {(200, "good"): 10}
        assert bad.asked["POST"] > 0


async def test_no_retry_where_none_is_wanted(shared: Host) -> None:
    async with upstream("good") as good:
        shared.put("once", good.port, free_port())
        await until_known(shared, "once", 2)
        answers = await many(shared, "once", 10)
        assert answers[503, "no endpoint of once could be reached"] > 0


async def test_a_limit_is_of_the_name_it_was_set_for(shared: Host) -> None:
    """`wide` leads to the same endpoints and has a cluster of its own."""
    async with upstream("busy") as busy:
        shared.put("narrow", busy.port)
        busy.free.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(shared.call("narrow"))
            await busy.arrived.wait()
            second = await shared.call("narrow")
            busy.arrived.clear()
            wide = tasks.create_task(shared.call("wide"))
            await busy.arrived.wait()
            busy.free.set()
        assert (second.status, second.err) == (
            503,
            "too many requests at once for narrow: circuit breaker limit reached",
        )
        assert (first.result().status, wide.result().status) == (200, 200)


async def test_a_limit_of_a_bound_name_holds_for_all_who_lead_there(shared: Host) -> None:
    async with upstream("busy") as busy:
        shared.put("inner", busy.port)
        busy.free.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(shared.call("outer"))
            await busy.arrived.wait()
            second = await shared.call("inner")
            busy.free.set()
        assert (first.result().status, second.status) == (200, 503)


async def test_an_endpoint_is_ejected_for_what_the_policy_says_and_not_otherwise(shared: Host) -> None:
    async with pair(shared, "strict") as (_, bad):
        bad.status = 500
        answers = await many(shared, "strict", 60)
        assert bad.asked["GET"] == 2
        assert answers[200, "good"] == 58
    async with pair(shared, "lenient") as (_, bad):
        bad.status = 500
        await many(shared, "lenient", 60)
        assert bad.asked["GET"] > 10


async def test_round_robin_takes_turns_and_random_does_not(shared: Host) -> None:
    async with pair(shared, "turns") as (good, bad):
        await many(shared, "turns", 20)
        assert abs(good.asked["GET"] - bad.asked["GET"]) <= 4, "two workers, each with turns of its own"
    async with pair(shared, "random"):
        assert len(await many(shared, "random", 40)) == 2


async def test_equal_headers_lead_to_one_endpoint(shared: Host) -> None:
    async with pair(shared, "ring"):
        users = [await many(shared, "ring", 5, **{"x-user": f"user{number}"}) for number in range(20)]
        assert all(len(user) == 1 for user in users)
        assert len({name for user in users for name in user}) == 2


async def test_a_cookie_is_made_and_leads_back(shared: Host) -> None:
    async with pair(shared, "sticky"):
        seen = set()
        for _ in range(20):
            first = await shared.call("sticky")
            cookie = first.headers["set-cookie"].partition(";")[0]
            seen.add(first.body)
            assert await many(shared, "sticky", 3, cookie=cookie) == {(200, first.body): 3}
        assert seen == {"good", "bad"}


async def test_a_caller_stays_with_its_endpoint(shared: Host) -> None:
    async with pair(shared, "near"):
        assert len(await many(shared, "near", 20)) == 1


@pytest.mark.parametrize("name", ["slow", "slowly"])
async def test_slow_start_is_taken(shared: Host, name: str) -> None:
    async with upstream("old") as old:
        shared.put(name, old.port)
        assert (await shared.call(name)).status == 200


async def test_the_proxy_asks_endpoints_for_their_health(shared: Host) -> None:
    async with pair(shared, "checked") as (_, bad):
        bad.health = 503
        await shared.call("checked")

        async def only_good() -> bool:
            return await many(shared, "checked", 10) == {(200, "good"): 10}

        await eventually(only_good, PATIENCE, "a sick endpoint gets requests")
        bad.health = 200

        async def both() -> bool:
            return len(await many(shared, "checked", 10)) == 2

        await eventually(both, PATIENCE, "an endpoint that is well again gets none")
        assert bad.checked >= 2


async def test_grpc_is_retried_on_its_own_status_and_ends_in_time(shared: Host) -> None:
    asked: Counter[str] = Counter()

    async def say(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        asked[request.decode()] += 1
        if request == b"hang":
            await asyncio.sleep(60)
        if asked[request.decode()] == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return b"heard " + request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say, request_deserializer=bytes, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.default_authority", "calls")]
    shared.put("calls", port)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.agent.port}", options=options) as channel:
            call = channel.unary_unary("/t.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
            assert await call(b"hello", timeout=10) == b"heard hello"
            assert asked["hello"] == 2
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await call(b"hang", timeout=30)
    finally:
        await server.stop(None)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_explain_says_which_entry_set_what(shared: Host) -> None:
    async with upstream("told") as told:
        shared.put("inner", told.port)
        shared.put("tries", told.port)
        answer = await shared.json("/explain?name=tries")
        rows = {row["key"]: row for row in answer["policy"]}  # type: ignore[attr-defined]
        assert (rows["timeout.per_try"]["value"], rows["timeout.per_try"]["match"]) == (0.2, "/svc/tries")
        assert rows["timeout.per_try"]["where"] == str(shared.agent.config)
        line = shared.agent.config.read_text().splitlines()[rows["timeout.per_try"]["line"] - 1]
        assert line.strip() == "per_try: 200ms"
        assert (rows["timeout.request"]["value"], rows["timeout.request"]["match"]) == (15.0, None)
        inner = (await shared.json("/explain?name=outer"))["endpoints"]["/#/files/inner"]["policy"]  # type: ignore[index]
        assert [(row["key"], row["value"], row["match"]) for row in inner] == [("limits.requests", 1, "/#/files/inner")]
        done = await asyncio.to_thread(
            subprocess.run,
            [TIELINE, "explain", "tries", "--admin", str(shared.agent.admin)],
            check=True,
            capture_output=True,
            text=True,
        )
        (said,) = [line for line in done.stdout.splitlines() if "timeout.per_try" in line]
        assert said.split() == [
            "timeout.per_try:",
            "0.2",
            f"[{shared.agent.config}:{rows['timeout.per_try']['line']}",
            "/svc/tries]",
        ]


async def test_a_policy_is_changed_under_load_without_a_lost_request() -> None:
    policies: list[dict[str, object]] = [{"match": "/svc/users", "limits": {"requests": 100}}]
    async with host(policies=policies) as started, upstream("users") as users:
        started.put("users", users.port)
        await started.until("users", "users")
        async with load(started.agent.url, "users") as seen:
            policies.append({"match": "/svc/users", "timeout": {"request": "300ms"}, "limits": {"requests": 200}})
            rewrite(started.agent.config, policies=policies)
            started.agent.process.send_signal(1)

            async def shown() -> bool:
                try:
                    answer = await started.json("/explain?name=users")
                except OSError:
                    return False  # the next brain is not there yet
                rows = {row["key"]: row["value"] for row in answer["policy"]}  # type: ignore[attr-defined]
                return bool(rows["timeout.request"] == 0.3 and json.dumps(answer["proxies"]).count('"has": true'))

            await eventually(shown, PATIENCE, "the policy is not there")
            count = seen.answers["users"]
            await eventually(lambda: seen.answers["users"] > count + 50, PATIENCE, "the load stopped")
        assert not seen.failed
        users.free.clear()
        assert (await started.call("users")).status == 504
        await started.no_nacks()
