"""The proxy's metrics on a real agent's page, as a third party reads them, after traffic that is known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from discovery.path import Path
from mesh.agent.counted import Counted
from mesh.agent.proxy_metrics import Subjects, Translation
from mesh.agent.proxy_rows import ROWS
from scripts.ports import free_port
from scripts.running import eventually
from tests.host import PATIENCE, Host, host
from tests.mesh.agent.test_breakers import Calls
from tests.upstream import upstream

GRPC = ("OK", "UNIMPLEMENTED", "UNAVAILABLE")
DTAB = "/svc => /#/files ; /svc/alias => /#/files/users ; /svc/any/* => /#/files/users"
POLICIES = [
    {"match": "/svc/again", "retries": {"statuses": [500]}, "ejection": None},
    {"match": "/svc/narrow", "limits": {"requests": 1}},
    {"match": "/svc/strict", "ejection": {"consecutive_5xx": 2, "max_share": 100, "base_time": "30s"}},
    {"match": "/svc/late", "timeout": {"request": "100ms"}},
]


@pytest.fixture
async def alone() -> AsyncIterator[Host]:
    async with host(DTAB, policies=POLICIES) as started:
        yield started
        await started.no_nacks()


class Page:
    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self.names = {sample.name for sample in self.samples}

    def of(self, metric: str, /, **labels: str) -> float | None:
        wanted = labels.items()
        found = [each.value for each in self.samples if each.name == metric and wanted <= each.labels.items()]
        assert len(found) <= 1, (metric, labels, found)
        return found[0] if found else None


async def page(host: Host) -> Page:
    status, text = await host.agent.ask("/metrics")
    assert status == 200
    return Page(text)


async def timed(host: Host, count: int, **labels: str) -> Page:
    """Envoy's workers put their histograms together some time after they are asked to."""
    pages = [await page(host)]

    async def all_timed() -> bool:
        pages[0] = await page(host)
        return pages[0].of("tieline_request_duration_seconds_count", **labels) == count

    await eventually(all_timed, PATIENCE, f"{labels} has not {count} durations")
    return pages[0]


async def test_requests_are_counted_by_class_per_router_per_name_and_per_bound_name(alone: Host) -> None:
    async with upstream("one") as one:
        alone.put("users", one.port)
        alone.put("v1.x", one.port)
        for name, status in (("users", 200), ("users", 404), ("USERS", 503), ("alias", 200), ("v1.x", 200)):
            one.status = status
            await alone.call(name)
        await alone.call("missing")
        seen = await timed(alone, 3, name="/svc/users")
    assert seen.of("tieline_router_requests_total", router="http", **{"class": "2xx"}) == 3
    assert seen.of("tieline_router_requests_total", router="http", **{"class": "4xx"}) == 2
    assert seen.of("tieline_router_requests_total", router="http", **{"class": "5xx"}) == 1
    users = {"router": "http", "name": "/svc/users"}
    assert seen.of("tieline_requests_total", **users, **{"class": "2xx"}) == 1
    assert seen.of("tieline_requests_total", **users, **{"class": "4xx"}) == 1
    # Another spelling is the same name.
    assert seen.of("tieline_requests_total", **users, **{"class": "5xx"}) == 1
    assert seen.of("tieline_requests_total", router="http", name="/svc/alias", **{"class": "2xx"}) == 1
    assert seen.of("tieline_requests_total", router="http", name="/svc/v1.x", **{"class": "2xx"}) == 1
    assert seen.of("tieline_bound_requests_total", bound="/#/files/users", **{"class": "2xx"}) == 2
    assert seen.of("tieline_bound_requests_total", bound="/#/files/v1.x", **{"class": "2xx"}) == 1
    assert seen.of("tieline_bound_attempts_total", bound="/#/files/users") == 4
    assert seen.of("tieline_request_duration_seconds_count", **users) == 3
    assert seen.of("tieline_request_duration_seconds_bucket", **users, le="+Inf") == 3
    assert seen.of("tieline_bound_request_duration_seconds_count", bound="/#/files/users") == 4
    assert seen.of("tieline_router_request_duration_seconds_count", router="http") == 6
    assert seen.of("tieline_proxy_up") == 1
    assert not any(name.startswith("envoy_") for name in seen.names)


async def test_a_duration_is_in_seconds(alone: Host) -> None:
    async with upstream("one") as one:
        alone.put("late", one.port)
        alone.put("slow", one.port)
        await alone.call("late")
        await alone.call("slow")
        one.free.clear()
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(alone.call("slow"))
            assert (await alone.call("late")).status == 504
            one.free.set()
        assert slow.result().status == 200
        seen = await timed(alone, 2, name="/svc/slow")
    late = {"router": "http", "name": "/svc/late"}
    # What was never answered has no duration.
    assert seen.of("tieline_request_duration_seconds_count", **late) == 1
    slow_ones = {"router": "http", "name": "/svc/slow"}
    assert seen.of("tieline_request_duration_seconds_bucket", **slow_ones, le="0.05") == 1
    assert seen.of("tieline_request_duration_seconds_bucket", **slow_ones, le="30.0") == 2
    total = seen.of("tieline_request_duration_seconds_sum", **slow_ones)
    assert total is not None
    assert 0.05 <= total < 10
    assert seen.of("tieline_request_timeouts_total", **late) == 1
    assert seen.of("tieline_bound_timeouts_total", bound="/#/files/late") == 1


async def test_retries_ejections_and_open_breakers_are_told(alone: Host) -> None:
    async with upstream("good") as good, upstream("bad") as bad:
        bad.status = 500
        alone.put("again", good.port, bad.port)
        alone.put("narrow", good.port)
        alone.put("strict", bad.port)
        answers = [(await alone.call("again")).status for _ in range(10)]
        assert set(answers) == {200}
        for _ in range(3):
            await alone.call("strict")
        good.free.clear()
        good.arrived.clear()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(alone.call("narrow"))
            await good.arrived.wait()
            assert (await alone.call("narrow")).status == 503
            seen = await page(alone)
            good.free.set()
        assert waiting.result().status == 200
    assert seen.of("tieline_request_retries_total", router="http", name="/svc/again") == bad.asked["GET"] - 2
    assert seen.of("tieline_bound_retries_total", bound="/#/files/again") == bad.asked["GET"] - 2
    assert seen.of("tieline_bound_ejections_total", bound="/#/files/strict") == 1
    assert seen.of("tieline_bound_ejected_endpoints", bound="/#/files/strict") == 1
    assert seen.of("tieline_bound_healthy_endpoints", bound="/#/files/strict") == 0
    assert seen.of("tieline_bound_endpoints", bound="/#/files/strict") == 1
    assert seen.of("tieline_bound_breaker_open", bound="/#/files/narrow", breaker="requests") == 1
    assert seen.of("tieline_bound_breaker_open", bound="/#/files/again", breaker="requests") == 0
    assert seen.of("tieline_bound_overflows_total", bound="/#/files/narrow", breaker="requests") == 1
    assert seen.of("tieline_bound_active_requests", bound="/#/files/narrow") == 1
    assert seen.of("tieline_router_active_requests", router="http") == 1


async def test_of_a_proxy_that_does_not_answer_nothing_is_told(alone: Host) -> None:
    async with upstream("one") as one:
        alone.put("users", one.port)
        await alone.call("users")
        socket = alone.agent.folder / "run" / "envoy.sock"
        socket.rename(socket.with_name("away.sock"))
        dark = await page(alone)
        socket.with_name("away.sock").rename(socket)
        back = await page(alone)
    assert dark.of("tieline_proxy_up") == 0
    told = {name for name in dark.names if name.startswith(("tieline_request", "tieline_bound", "tieline_router"))}
    assert told == set()
    assert dark.of("tieline_names") == 1
    assert back.of("tieline_proxy_up") == 1
    assert back.of("tieline_requests_total", router="http", name="/svc/users", **{"class": "2xx"}) == 1


async def test_names_beyond_the_limit_count_together(alone: Host) -> None:
    async with upstream("one") as one, host(DTAB, metrics={"names": 2}) as small:
        small.put("users", one.port)
        for name in ("users", "alias", "a.any", "b.any"):
            assert (await small.call(name)).status in (200, 404)
        for name in ("first", "second"):
            small.put(name, one.port)
            assert (await small.call(name)).status == 200
        seen = await page(small)
    names = {each.labels["name"]: each.value for each in seen.samples if each.name == "tieline_requests_total"}
    assert names == {"/svc/users": 1, "/svc/alias": 1, "other": 2}


async def test_a_name_in_use_no_more_is_no_series_and_comes_back_with_its_count(alone: Host) -> None:
    async with upstream("one") as one, host(names={"idle": "300ms", "linger": "100ms"}) as brief:
        brief.put("users", one.port)
        await brief.call("users")
        assert "tieline_requests_total" in (await page(brief)).names

        async def gone() -> bool:
            return not await brief.names()

        await eventually(gone, PATIENCE, "the name is still in use")
        assert "tieline_requests_total" not in (await page(brief)).names
        await brief.call("users")
        seen = await page(brief)
    assert seen.of("tieline_requests_total", router="http", name="/svc/users", **{"class": "2xx"}) == 2


async def test_with_failover_the_whole_is_counted_and_attempts_of_each(alone: Host) -> None:
    policies = [{"match": "/svc/users", "failover": True}]
    async with upstream("b") as b, host("/svc/users => /#/files/a | /#/files/b", policies=policies) as over:
        over.put("a", free_port())
        over.put("b", b.port)
        assert (await over.call("users")).status == 200
        seen = await page(over)
        await over.no_nacks()
    whole = "/#/files/a | /#/files/b"
    assert seen.of("tieline_bound_requests_total", bound=whole, **{"class": "2xx"}) == 1
    assert (seen.of("tieline_bound_retries_total", bound=whole) or 0) >= 1
    assert seen.of("tieline_bound_attempts_total", bound="/#/files/b") == 1
    assert seen.of("tieline_bound_endpoints", bound="/#/files/b") == 1
    assert seen.of("tieline_bound_endpoints", bound=whole) is None


async def test_no_endpoint_at_all_is_an_answer_of_the_name(alone: Host) -> None:
    alone.put("dead", free_port())
    assert (await alone.call("dead")).status == 503
    seen = await page(alone)
    assert seen.of("tieline_requests_total", router="http", name="/svc/dead", **{"class": "5xx"}) == 1
    assert (seen.of("tieline_bound_connect_failures_total", bound="/#/files/dead") or 0) >= 1


def test_clusters_of_one_bound_name_are_one_series() -> None:
    subjects = Subjects(frozenset({"r"}), {("r", "/svc/a"): "/svc/a"}, {"a": "/#/a", "a+grpc": "/#/a"})
    translation = Translation(subjects)
    for cluster, number in (("a", 2), ("a+grpc", 3), ("not-ours", 9)):
        label = f'envoy_cluster_name="{cluster}"'
        translation.feed(f"envoy_cluster_upstream_rq_total{{{label}}} {number}")
        translation.feed(f"envoy_cluster_membership_total{{{label}}} {number}")
        translation.feed(f'envoy_cluster_upstream_rq_time_bucket{{{label},le="5"}} {number}')
        translation.feed(f"envoy_cluster_upstream_rq_time_sum{{{label}}} {number * 1000}")
    for junk in ("", "# TYPE envoy_x counter", "nonsense", "envoy_unknown{} 1", 'envoy_http_rq_y{a="b"} 1'):
        translation.feed(junk)
    samples = {(s.name, *sorted(s.labels.items())): s.value for f in translation.families() for s in f.samples}
    bound = ("bound", "/#/a")
    assert samples["tieline_bound_attempts_total", bound] == 5
    assert samples["tieline_bound_endpoints", bound] == 3
    assert samples["tieline_bound_request_duration_seconds_bucket", bound, ("le", "0.005")] == 5
    assert samples["tieline_bound_request_duration_seconds_sum", bound] == 5
    assert samples["tieline_bound_retries_total", bound] == 0
    assert not any("not-ours" in str(key) for key in samples)


def test_each_row_is_of_its_own() -> None:
    assert len({row.envoy for row in ROWS}) == len(ROWS)
    assert len({(row.ours, *row.extra.values()) for row in ROWS}) == len(ROWS)


def test_the_first_names_are_counted_and_keep_their_place() -> None:
    counted = Counted(1)
    assert [counted.prefix("r", Path.parse(path)) for path in ("/a", "/b", "/a")] == ["/a", "other", "/a"]
    assert Counted(0).prefix("r", Path.parse("/a")) == "other"


async def test_grpc_calls_are_counted_by_their_own_status(alone: Host) -> None:
    port = free_port()
    server = await Calls(b"x").served(port)
    alone.put("calls", port)
    options = [("grpc.default_authority", "calls")]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{alone.agent.port}", options=options) as channel:
            for method in ("/t.T/M", "/t.T/M", "/t.T/Other"):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await channel.unary_unary(method)(b"")
    finally:
        await server.stop(0)
    seen = await page(alone)
    counted = {
        status: seen.of("tieline_bound_grpc_calls_total", bound="/#/files/calls", status=status) for status in GRPC
    }
    assert counted == {"OK": 2, "UNIMPLEMENTED": 1, "UNAVAILABLE": 0}
