"""What callers see of a router, with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
from aiohttp import web
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyMutation,
)
from google.protobuf.json_format import MessageToDict

from discovery.address import Protocol
from mesh.envoy import listeners
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME, empty_cluster
from mesh.envoy.keys import key_form
from mesh.envoy.routes import FIRST_REQUEST, OPTIONAL, direct
from mesh.naming.identifiers import Header, Host, Identifier, UriPath
from mesh.naming.tree import Empty, Union, Weighted
from mesh.policy.resilience import Timeout
from mesh.policy.settings import DEFAULTS, Settings
from mesh.xds.resource import CLUSTER, SCOPE, resource
from scripts.ports import free_port
from tests.envoy_process import EnvoyProcess
from tests.proxied import Brain, Caller, Change, assignment, calling, cluster, leaf, listener, scope, service

COLD_NAMES = 30_000 if os.environ.get("SOAK") else 1000
SHORT = 0.2
SOON = Settings(timeout=Timeout(request=SHORT))


@contextlib.asynccontextmanager
async def router(brain: Brain, *changes: Change) -> AsyncIterator[tuple[Caller, EnvoyProcess]]:
    port = free_port()
    async with brain.serving(), brain.envoy() as envoy, calling(port) as caller:
        every = [listener("r", port), (CLUSTER, resource(EMPTY_CLUSTER_NAME, empty_cluster())), *changes]
        brain.ads.apply(every)
        await envoy.ready()
        async with asyncio.timeout(10):
            for type_url, entry in every:
                assert await brain.ads.applied(type_url, entry.name) is None
        yield caller, envoy


def bound(key: str, *ports: int, protocol: Protocol | None = None, settings: Settings = DEFAULTS) -> list[Change]:
    return [cluster(key, protocol), assignment(key, ports), scope("r", key, leaf(key), settings)]


@contextlib.asynccontextmanager
async def application() -> AsyncIterator[int]:
    """Says what it was sent; `/slow` takes its time; `/socket` is a WebSocket that echoes."""

    async def say(request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response(
            {"path": request.raw_path, "headers": {k.lower(): v for k, v in request.headers.items()}, "size": len(body)}
        )

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.Response()

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application(client_max_size=2**24)
    app.router.add_get("/slow", slow)
    app.router.add_get("/socket", echo)
    app.router.add_route("*", "/{tail:.*}", say)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_every_answer_of_envoy_itself_says_why(tmp_path: Path) -> None:
    brain, lost = Brain(tmp_path), bound("lost")
    direct_scope = direct("r", "known-missing", 404, "no such name\n", "100 % missing")
    given = (SCOPE, resource(direct_scope.name, direct_scope))
    async with router(brain, *bound("empty"), *bound("dead", free_port()), *lost, given) as (caller, _):
        brain.ads.apply(remove=[(CLUSTER, lost[0][1].name)])
        assert await brain.ads.applied(CLUSTER, lost[0][1].name) is None
        for host, status, said in [
            ("empty", 503, "no usable endpoint for empty: none known, or all unhealthy or ejected"),
            ("dead", 503, "no endpoint of dead could be reached"),
            ("lost", 503, "this proxy has no route for such a request to lost"),
            ("known-missing", 404, "100 % missing"),
        ]:
            answer = await caller.get(host)
            assert (host, answer.status, answer.headers["l5d-err"]) == (host, status, said)
        reader, writer = await asyncio.open_connection("127.0.0.1", caller.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 400 ")
        assert "l5d-err: bad request: missing_host_header" in head
        writer.close()


async def test_what_the_brain_refuses_is_passed_on_as_it_said_it(tmp_path: Path) -> None:
    async with router(Brain(tmp_path)) as (caller, _):
        answer = await caller.get("unknown")
        assert (answer.status, answer.body) == (404, "no such name")
        assert "l5d-err" not in answer.headers


async def test_without_a_brain_bound_names_work_and_others_are_told(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with service("users") as users, calling(port) as caller, contextlib.AsyncExitStack() as lasting:
        async with brain.serving():
            brain.ads.apply([listener("r", port), *bound("users", users)])
            envoy = await lasting.enter_async_context(brain.envoy())
            await envoy.ready()
            assert await brain.ads.applied(SCOPE, bound("users", users)[2][1].name) is None
        assert (await caller.get("users")).body == "users"
        answer = await caller.get("new")
        assert answer.status == 503
        assert "the brain does not answer" in answer.headers["l5d-err"]
        assert answer.body.strip() == answer.headers["l5d-err"]


async def test_headers_that_steer_envoy_are_not_taken_from_callers(tmp_path: Path) -> None:
    sent = {
        "x-envoy-retry-on": "5xx",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-max-retries": "9",
        "x-forwarded-client-cert": "By=spiffe://x",
        "x-forwarded-for": "192.0.2.1",
        "x-own": "kept",
    }
    async with application() as port, router(Brain(tmp_path), *bound("app", port)) as (caller, _):
        async with caller.http.get(
            f"http://127.0.0.1:{caller.port}/a/../b//c?q=1", headers={"Host": "app:80", **sent}
        ) as answer:
            said = await answer.json()
        assert {name: said["headers"].get(name) for name in sent} == {
            **dict.fromkeys(sent),
            "x-forwarded-for": "192.0.2.1",
            "x-own": "kept",
        }
        assert said["headers"]["host"] == "app:80"
        # The client resolves `..` itself.
        assert said["path"] == "/b//c?q=1"


async def test_first_requests_never_fail_for_a_name_that_exists(tmp_path: Path) -> None:
    """All of them go the way that closes the race: see `mesh.envoy.listeners`."""
    brain, asked = Brain(tmp_path), Counter[str]()
    async with service("all") as port:

        async def resolve(authority: str) -> None:
            asked[authority] += 1
            change = scope("r", authority, leaf("all"))
            brain.ads.apply([change])
            assert await brain.ads.applied(SCOPE, change[1].name) is None

        brain.resolve = resolve
        async with router(brain, *bound("all", port)) as (caller, envoy):
            hosts, answers = iter(range(COLD_NAMES)), Counter[int]()

            async def call() -> None:
                for number in hosts:
                    answers[(await caller.get(f"cold{number}")).status] += 1

            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(call())
            assert answers == {200: COLD_NAMES}
            assert set(asked.values()) == {1}
            assert (await envoy.stats("http.r.no_route$"))["http.r.no_route"] == 0
            assert (await caller.get("cold0")).status == 200
            assert asked["cold0"] == 1


async def test_a_first_request_may_have_a_body(tmp_path: Path) -> None:
    brain = Brain(tmp_path)
    async with application() as port:

        async def resolve(authority: str) -> None:
            changes = bound(authority, port)
            brain.ads.apply(changes)
            assert await brain.ads.applied(SCOPE, changes[2][1].name) is None

        brain.resolve = resolve
        async with router(brain) as (caller, _):
            for size in (0, 1, 200_000, 3_000_000):
                url, host = f"http://127.0.0.1:{caller.port}/", {"Host": f"cold{size}"}
                async with caller.http.post(url, headers=host, data=io.BytesIO(bytes(size))) as answer:
                    assert (answer.status, (await answer.json())["size"]) == (200, size)


@pytest.mark.parametrize("host", ["Users", "a.b-c_d", "a%2Fb", "*", "a,b;c", "10.0.0.1", "a" * 200, "[::1]"])
async def test_any_host_can_be_a_key(tmp_path: Path, host: str) -> None:
    key = host.partition(":")[0]
    brain = Brain(tmp_path)
    async with service("users") as port:
        async with router(brain, cluster("users"), assignment("users", [port]), scope("r", key, leaf("users"))) as (
            caller,
            _,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", caller.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: close\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert not brain.nacks


@pytest.mark.parametrize("host", ["a?b=c", "ü", "a b"])
async def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    async with router(Brain(tmp_path)) as (caller, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", caller.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: close\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"l5d-err: bad request: " in answer
        writer.close()


async def test_two_routers_have_their_own_names(tmp_path: Path) -> None:
    brain, second = Brain(tmp_path), free_port()
    async with service("one") as one, service("two") as two, calling(second) as other:
        more = [listener("s", second), cluster("two"), assignment("two", [two]), scope("s", "users", leaf("two"))]
        async with router(brain, *bound("users", one), *more) as (caller, _):
            assert (await caller.get("users")).body == "one"
            assert (await other.get("users")).body == "two"
        assert not brain.nacks


async def test_a_split_is_a_split_and_its_empty_branch_gets_its_share(tmp_path: Path) -> None:
    tree = Union((Weighted(1, leaf("a")), Weighted(2, leaf("b")), Weighted(1, Empty())))
    async with service("a") as a, service("b") as b:
        changes = [cluster("a"), assignment("a", [a]), cluster("b"), assignment("b", [b]), scope("r", "split", tree)]
        async with router(Brain(tmp_path), *changes) as (caller, _):
            answers = Counter[str]()
            for _ in range(400):
                answer = await caller.get("split")
                answers[answer.body if answer.status == 200 else str(answer.status)] += 1
    assert 50 < answers["a"] < 150
    assert 150 < answers["b"] < 250
    assert 50 < answers["503"] < 150


async def test_a_dead_endpoint_beside_a_live_one_fails_no_request(tmp_path: Path) -> None:
    async with application() as port, router(Brain(tmp_path), *bound("app", port, free_port())) as (caller, envoy):
        for _ in range(100):
            async with caller.http.post(
                f"http://127.0.0.1:{caller.port}/", headers={"Host": "app"}, data=b"x" * 1000
            ) as answer:
                assert answer.status == 200
        stats = await envoy.stats("app.upstream_rq_retry$")
        assert sum(stats.values()) > 0


async def test_an_endpoint_that_answers_badly_is_not_asked_again(tmp_path: Path) -> None:
    """A POST that reached its endpoint is not sent twice, and an application's own error is passed on."""
    reached = Counter[str]()

    async def fail(request: web.Request) -> web.Response:
        reached[request.path] += 1
        return web.Response(status=503)

    app = web.Application()
    app.router.add_post("/{tail:.*}", fail)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with (
        router(Brain(tmp_path), *bound("app", runner.addresses[0][1])) as (caller, _),
        caller.http.post(f"http://127.0.0.1:{caller.port}/once", headers={"Host": "app"}) as answer,
    ):
        assert (answer.status, answer.headers.get("l5d-err")) == (503, None)
    await runner.cleanup()
    assert reached == {"/once": 1}


async def test_requests_are_cut_at_their_timeout_web_sockets_are_not(tmp_path: Path) -> None:
    async with application() as port, router(Brain(tmp_path), *bound("app", port, settings=SOON)) as (caller, _):
        answer = await caller.get("app", "/slow?seconds=0.4")
        assert (answer.status, answer.headers["l5d-err"]) == (504, "app did not answer in time")
        url = f"http://127.0.0.1:{caller.port}/socket"
        async with caller.http.ws_connect(url, headers={"Host": "app"}) as socket:
            await asyncio.sleep(2 * SHORT)
            await socket.send_str("still here")
            message = await socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.TEXT, "still here")


@pytest.mark.parametrize("protocol", [None, Protocol.GRPC])
async def test_grpc_calls_are_cut_only_at_their_own_deadline(tmp_path: Path, protocol: Protocol | None) -> None:
    async def drip(request: bytes, context: object) -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(SHORT / 2)
            yield b"drop"

    method = grpc.unary_stream_rpc_method_handler(drip)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Tap", {"Drip": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    changes = bound("tap", port, protocol=protocol, settings=SOON)
    async with router(Brain(tmp_path), *changes) as (caller, _):
        options = [("grpc.default_authority", "tap")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{caller.port}", options=options) as channel:
            call = channel.unary_stream("/test.Tap/Drip")
            assert [drop async for drop in call(b"")] == [b"drop"] * 4
            with pytest.raises(grpc.aio.AioRpcError) as late:
                [drop async for drop in call(b"", timeout=SHORT / 4)]
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await server.stop(None)


def manager(*identifiers: Identifier) -> HttpConnectionManager:
    form = key_form(identifiers or [Host()])
    found = HttpConnectionManager()
    [chain] = listeners.listener(listeners.Router("r", "127.0.0.1", 4140, form=form)).filter_chains
    assert chain.filters[0].typed_config.Unpack(found)
    return found


def test_to_identify_by_a_header_costs_nothing() -> None:
    for found in (manager(), manager(Header("l5d-name"))):
        assert not found.early_header_mutation_extensions
        # A scope switches off what it does not need.
        assert [each.name for each in found.http_filters[:-1]] == [*FIRST_REQUEST, *OPTIONAL]
    assert MessageToDict(manager().scoped_routes.scope_key_builder) == {
        "fragments": [{"headerValueExtractor": {"name": ":authority", "elementSeparator": ":", "index": 0}}]
    }


def test_what_else_identifies_is_copied_before_the_scope_is_looked_for_and_removed_after() -> None:
    found = manager(Header("l5d-name"), UriPath(2))
    [early] = found.early_header_mutation_extensions
    copies = EarlyMutation()
    assert early.typed_config.Unpack(copies)
    made = {each.append.header.key: each.append.header.value for each in copies.mutations}
    assert made == {"x-tieline-key-0": "%REQ(L5D-NAME)%", "x-tieline-key-1": "%PATH(NQ)%//"}
    removing = HeaderMutation()
    [removes] = [each for each in found.http_filters if each.name.endswith("header_mutation")]
    assert removes.typed_config.Unpack(removing)
    assert [each.remove for each in removing.mutations.request_mutations] == list(made)
    names = [
        (each.header_value_extractor.name, each.header_value_extractor.index)
        for each in found.scoped_routes.scope_key_builder.fragments
    ]
    assert names == [("x-tieline-key-0", 0), ("x-tieline-key-1", 1), ("x-tieline-key-1", 2)]
