"""The server and its sessions before a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from discovery.address import Endpoint, Protocol
from mesh.envoy import clusters, endpoints, names
from mesh.naming.tree import BoundTree, Union, Weighted
from mesh.xds.events import Acked, Unclaimed
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE, resource
from mesh.xds.server import METHOD, SERVICE, Ads
from mesh.xds.status import Standing
from scripts.ports import free_port
from tests.envoy_process import EnvoyProcess, eventually
from tests.proxied import Brain, Caller, Change, assignment, calling, cluster, leaf, listener, name, scope, service

STEPS = 10_000


async def applied(ads: Ads, *changes: Change) -> None:
    async with asyncio.timeout(10):
        for type_url, entry in changes:
            assert await ads.applied(type_url, entry.name) is None


def without_timeout(text: str) -> Change:
    """A cluster that Envoy refuses."""
    message = clusters.cluster(name(text), None)
    message.connect_timeout.Clear()
    return CLUSTER, resource(message.name, message)


def by_hostname(text: str) -> Change:
    """An assignment that Envoy refuses, and that `endpoints.assignment` would not make."""
    message = endpoints.assignment(name(text), [Endpoint("127.0.0.1", 1)])
    message.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = "localhost"
    return ENDPOINTS, resource(message.cluster_name, message)


@contextlib.asynccontextmanager
async def started(brain: Brain, *changes: Change) -> AsyncIterator[EnvoyProcess]:
    async with brain.serving(), brain.envoy() as envoy:
        brain.ads.apply(changes)
        await envoy.ready()
        await applied(brain.ads, *changes)
        yield envoy


async def test_a_bound_name_is_reached_once_its_scope_is_applied(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with service("users") as users, calling(port) as caller:
        bound = [
            listener("r", port),
            cluster("users"),
            assignment("users", [users]),
            scope("r", "users", leaf("users")),
        ]
        async with started(brain, *bound):
            answer = await caller.get("users")
            assert (answer.status, answer.body) == (200, "users")
            (stream,) = brain.ads.status()
            assert {each.type_url: each.acked for each in stream.types} == dict.fromkeys(
                (CLUSTER, ENDPOINTS, LISTENER, SCOPE), 1
            )
            (holding,) = brain.ads.holdings(SCOPE, bound[3][1].name)
            assert (holding.node, holding.standing) == ("envoy", Standing.APPLIED)


async def test_applied_waits_for_a_proxy_and_says_when_one_refuses(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with brain.serving(), asyncio.TaskGroup() as tasks:
        early = tasks.create_task(brain.ads.applied(LISTENER, "r"))
        brain.ads.apply([listener("r", port)])
        async with brain.envoy() as envoy:
            await envoy.ready()
            assert await early is None
            brain.ads.apply([listener("same port", port)])
            nack = await brain.ads.applied(LISTENER, "same port")
            assert nack is not None
            assert nack.culprits == ("same port",)
            assert "address" in nack.message


async def test_what_a_proxy_came_with_is_applied_as_soon_as_the_store_has_it(tmp_path: Path) -> None:
    """A restarted brain that is waiting already: the proxy has nothing to acknowledge."""
    first, port = Brain(tmp_path), free_port()
    async with contextlib.AsyncExitStack() as lasting:
        async with first.serving():
            first.ads.apply([listener("r", port)])
            envoy = await lasting.enter_async_context(first.envoy())
            await envoy.ready()
            await applied(first.ads, listener("r", port))
        second = Brain(tmp_path)
        async with second.serving(), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(second.ads.applied(LISTENER, "r"))
            await eventually(lambda: bool(second.ads.unclaimed(LISTENER)))
            second.ads.apply([listener("r", port)])
            async with asyncio.timeout(10):
                assert await waiting is None


async def test_of_one_bad_among_good_the_good_are_taken_and_the_bad_is_named(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with service("users") as users, calling(port) as caller:
        good = [cluster("users"), assignment("users", [users]), scope("r", "users", leaf("users"))]
        async with started(brain, listener("r", port), *good):
            broken = without_timeout("broken")
            brain.ads.apply([cluster("other"), broken, assignment("other", [users])])
            await eventually(lambda: bool(brain.nacks))
            assert brain.nacks[0].culprits == (broken[1].name,)
            await applied(brain.ads, cluster("other"))
            assert (await caller.get("users")).status == 200
            assert (await brain.ads.applied(CLUSTER, broken[1].name)) is brain.nacks[0]
            brain.ads.apply([cluster("broken"), assignment("broken", [users])])
            await applied(brain.ads, cluster("broken"))
            assert len(brain.nacks) == 1


async def test_refused_endpoints_leave_the_last_good_ones_and_the_rest_arrives(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with service("old") as old, service("new") as new, calling(port) as caller:
        texts = ["a", "b", "c"]
        bound = [change for text in texts for change in (cluster(text), assignment(text, [old]))]
        scopes = [scope("r", text, leaf(text)) for text in texts]
        async with started(brain, listener("r", port), *bound, *scopes):
            moved = [assignment("a", [new]), assignment("c", [new])]
            brain.ads.apply([moved[0], by_hostname("b"), moved[1]])
            await applied(brain.ads, *moved)
            assert [(await caller.get(text)).body for text in texts] == ["new", "old", "new"]
            assert [nack.culprits for nack in brain.nacks if nack.culprits] == [(name("b").show(),)]


async def test_a_changed_cluster_is_warm_at_once(tmp_path: Path) -> None:
    """Envoy waits for its endpoints and does not ask for them: 1 s with our time limit, 15 s with Envoy's own."""
    brain, port = Brain(tmp_path), free_port()
    before = [listener("r", port), cluster("users"), assignment("users", [free_port()])]
    async with started(brain, *before) as envoy:
        changed = cluster("users", Protocol.HTTP1)
        brain.ads.apply([changed])
        await applied(brain.ads, changed)
        stats = await envoy.stats("init_fetch_timeout")
        assert stats
        assert not any(stats.values())


async def test_a_restarted_brain_withdraws_nothing_and_sends_nothing_again(tmp_path: Path) -> None:
    first, port = Brain(tmp_path), free_port()
    async with service("users") as users, calling(port) as caller, contextlib.AsyncExitStack() as lasting:
        known = [
            listener("r", port),
            cluster("users"),
            assignment("users", [users]),
            scope("r", "users", leaf("users")),
        ]
        gone = [cluster("gone"), assignment("gone", [users]), scope("r", "gone", leaf("gone"))]
        async with first.serving():
            first.ads.apply([*known, *gone])
            envoy = await lasting.enter_async_context(first.envoy())
            await envoy.ready()
            await applied(first.ads, *known, *gone)
        assert (await caller.get("users")).body == "users"
        second = Brain(tmp_path)
        second.store.assume(SCOPE, [known[3][1].name, gone[2][1].name])
        async with second.serving():
            await eventually(
                lambda: SCOPE in {each.type_url for stream in second.ads.status() for each in stream.types}
            )
            missing = Unclaimed(SCOPE, (names.scope_resource("r", "gone"), names.scope_resource("r", "users")))
            assert missing in second.events
            assert (await caller.get("gone")).body == "users"
            second.ads.apply(known)
            await applied(second.ads, *known)
            assert second.ads.unclaimed(SCOPE) == {gone[2][1].name}
            # Envoy does not say which versions of scopes it has; the same again changes nothing.
            sent = {event.type_url for event in second.events if isinstance(event, Acked) and event.names}
            assert sent == {SCOPE}
            second.ads.settle()
            await applied(second.ads, gone[0], gone[2])
            assert (await caller.get("gone")).status == 404
            assert (await caller.get("users")).body == "users"
            stats = await envoy.stats("(cluster_modified|listener_modified|cluster_removed)$")
            assert stats == {
                "cluster_manager.cluster_modified": 0,
                "cluster_manager.cluster_removed": 1,
                "listener_manager.listener_modified": 0,
            }


async def test_a_scope_removed_while_its_proxy_was_away_is_withdrawn_when_it_is_back(tmp_path: Path) -> None:
    brain, port = Brain(tmp_path), free_port()
    async with service("users") as users, calling(port) as caller, contextlib.AsyncExitStack() as lasting:
        bound = [
            listener("r", port),
            cluster("users"),
            assignment("users", [users]),
            scope("r", "users", leaf("users")),
        ]
        async with brain.serving():
            brain.ads.apply(bound)
            brain.ads.settle()
            await (await lasting.enter_async_context(brain.envoy())).ready()
            await applied(brain.ads, *bound)
        brain.ads.apply(remove=[(SCOPE, bound[3][1].name)])
        assert (await caller.get("users")).status == 200
        async with brain.serving():
            await applied(brain.ads, bound[3])
            assert (await caller.get("users")).status == 404
            assert brain.store.assumed == {SCOPE: frozenset()}


async def test_a_proxy_that_does_not_acknowledge_is_disconnected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    brain = Brain(tmp_path, ack_limit_seconds=0.05)
    async with brain.serving(), grpc.aio.insecure_channel(f"unix:{brain.socket}") as channel:
        call = channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )()
        await call.write(DeltaDiscoveryRequest(type_url=CLUSTER))
        assert (await call.read()).type_url == CLUSTER
        assert await call.read() is grpc.aio.EOF
        assert brain.ads.status() == ()
    assert "a proxy is disconnected" in caplog.messages


class Churn:
    """Two routers, keys that always lead somewhere, keys that come and go, clusters for as long as a key needs them."""

    def __init__(self, brain: Brain, ports: list[int], chance: random.Random) -> None:
        self.brain, self.ports, self.chance = brain, ports, chance
        self.bound: dict[tuple[str, str], frozenset[str]] = {}
        self.protocols: dict[str, Protocol | None] = {}
        self.served_by: dict[str, list[int]] = {}
        self.steady = [(router, f"k{number}") for router in ("a", "b") for number in range(10)]
        self.fleeting = [(router, f"t{number}") for router in ("a", "b") for number in range(20)]
        for key in self.steady:
            self.bind(key)

    def step(self) -> None:
        self.chance.choice([self.rebind, self.come_or_go, self.move, self.move, self.change])()

    def rebind(self) -> None:
        self.bind(self.chance.choice(self.steady))

    def come_or_go(self) -> None:
        key = self.chance.choice(self.fleeting)
        if self.bound.pop(key, None) is None:
            self.bind(key)
        else:
            self.brain.ads.apply(remove=[(SCOPE, names.scope_resource(*key)), *self.unused()])

    def bind(self, key: tuple[str, str]) -> None:
        texts = sorted({f"c{self.chance.randrange(30)}" for _ in range(self.chance.choice([1, 1, 3]))})
        self.bound[key] = frozenset(texts)
        branches = tuple(Weighted(self.chance.choice([1, 0.5, 9]), leaf(text)) for text in texts)
        tree: BoundTree = Union(branches) if len(texts) > 1 else leaf(texts[0])
        put = [scope(*key, tree)]
        for text in texts:
            if text not in self.served_by:
                self.protocols[text], self.served_by[text] = None, self.some_ports()
                put += [cluster(text), assignment(text, self.served_by[text])]
        self.brain.ads.apply(put, self.unused())

    def move(self) -> None:
        text = self.chance.choice(sorted(self.served_by))
        self.served_by[text] = self.some_ports()
        self.brain.ads.apply([assignment(text, self.served_by[text])])

    def change(self) -> None:
        text = self.chance.choice(sorted(self.served_by))
        self.protocols[text] = None if self.protocols[text] else Protocol.HTTP1
        self.brain.ads.apply([cluster(text, self.protocols[text])])

    def some_ports(self) -> list[int]:
        return self.chance.sample(self.ports, self.chance.randrange(1, len(self.ports) + 1))

    def unused(self) -> list[tuple[str, str]]:
        idle = self.served_by.keys() - frozenset().union(*self.bound.values())
        for text in idle:
            del self.served_by[text]
        return [(type_url, name(text).show()) for text in sorted(idle) for type_url in (CLUSTER, ENDPOINTS)]


async def test_10_000_random_changes_break_nothing(tmp_path: Path) -> None:
    """No NACK, no failed request to a key that exists, and in the end Envoy has exactly what the store has."""
    brain, listening = Brain(tmp_path), {"a": free_port(), "b": free_port()}
    answers: Counter[int] = Counter()

    async def call(caller: Caller, router: str, churn: Churn, done: asyncio.Event, chance: random.Random) -> None:
        keys = [key for each, key in churn.steady if each == router]
        while not done.is_set():
            answers[(await caller.get(chance.choice(keys))).status] += 1

    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(service(f"s{number}")) for number in range(3)]
        churn = Churn(brain, ports, random.Random(1))
        envoy = await stack.enter_async_context(started(brain, *(listener(*each) for each in listening.items())))
        await applied(brain.ads, *((SCOPE, entry) for entry in brain.store.resources(SCOPE).values()))
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number, router in enumerate(["a", "b"] * 2):
                caller = await stack.enter_async_context(calling(listening[router]))
                tasks.create_task(call(caller, router, churn, done, random.Random(number)))
            for _ in range(STEPS):
                churn.step()
                await asyncio.sleep(0.001)
            for type_url in (CLUSTER, ENDPOINTS, SCOPE, LISTENER):
                await applied(brain.ads, *((type_url, entry) for entry in brain.store.resources(type_url).values()))
            done.set()
        assert brain.nacks == []
        assert set(answers) == {200}
        assert await clusters_of(envoy) == {
            name(text).show(): sorted(served) for text, served in churn.served_by.items()
        }
        stats = await envoy.stats("(update_rejected|init_fetch_timeout|no_cluster|no_route)$")
        assert not {name: value for name, value in stats.items() if value}


async def clusters_of(envoy: EnvoyProcess) -> dict[str, list[int]]:
    """The ports of each cluster's endpoints, as Envoy has them."""
    statuses = json.loads(await envoy.admin("/clusters?format=json"))["cluster_statuses"]
    return {
        status["name"]: sorted(
            host["address"]["socket_address"]["port_value"] for host in status.get("host_statuses", [])
        )
        for status in statuses
        if status["name"] != "xds"
    }
