"""Propagation with a real binder and store, and proxies over real gRPC that acknowledge when the test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from discovery.address import Bound, Known, Neg, State, bound
from discovery.path import Path
from discovery.source import Unavailable
from mesh.agent.propagation import BUCKETS, Delays, Propagation
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE
from mesh.xds.server import METHOD, SERVICE, listen
from scripts.running import eventually, folder
from tests.binding import World, at, world

USERS = Path(("users",))
ONE, TWO = Path(("#", "one")), Path(("#", "two"))


@dataclass(slots=True)
class Proxy:
    """Subscribes as Envoy does. `takes`: whether it answers what it gets; `refuses`: of which type it takes nothing."""

    call: Any
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: str = ""
    got: list[str] = field(default_factory=list)

    async def run(self) -> None:
        for type_url in (CLUSTER, ENDPOINTS, LISTENER, SCOPE):
            await self.call.write(DeltaDiscoveryRequest(type_url=type_url))
        while (response := await self.call.read()) is not grpc.aio.EOF:
            self.got.append(response.type_url)
            await self.takes.wait()
            await self.call.write(self._answer(response))
            if response.type_url == CLUSTER:
                names = [each.name for each in response.resources]
                await self.call.write(DeltaDiscoveryRequest(type_url=ENDPOINTS, resource_names_subscribe=names))

    def _answer(self, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest:
        answer = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if response.type_url == self.refuses:
            answer.error_detail.message = "no, because"
        return answer


@dataclass(slots=True)
class Fleet:
    """`now` is the clock of the propagation."""

    it: World
    where: str
    propagation: Propagation = field(init=False)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.propagation = Propagation(self.it.ads, (ONE, TWO), lambda name: name.take(2), lambda: self.now)
        self.it.observatory.on_change = self._changed
        self.it.binder.on_wanted = self.propagation.wanted

    def _changed(self, name: Path, state: State) -> None:
        with self.propagation.measured(name):
            self.it.binder.on_state(name, state)

    def counted(self, root: Path = ONE) -> tuple[int, float]:
        """How many changes, and how long all of them took."""
        for event in self.it.events:
            self.propagation.on_event(event)
        self.it.events.clear()
        delays = self.propagation.delays[root]
        return delays.cumulative[-1][1], delays.seconds

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Proxy]:
        """Connected, with all there is."""
        async with grpc.aio.insecure_channel(self.where) as channel, asyncio.TaskGroup() as tasks:
            call = channel.stream_stream(
                f"/{SERVICE}/{METHOD}",
                request_serializer=DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=DeltaDiscoveryResponse.FromString,
            )()
            proxy = Proxy(call)
            proxy.takes.set()
            before = len(self.it.ads.status())
            running = tasks.create_task(proxy.run())
            await self.until(lambda: len(self.it.ads.status()) == before + 1 and self.synced())
            yield proxy
            running.cancel()

    def synced(self) -> bool:
        types = [each for stream in self.it.ads.status() for each in stream.types]
        return len(types) == 4 * len(self.it.ads.status()) and all(
            not each.waiting
            and each.in_flight_age is None
            and (each.acked or not self.it.ads.store.resources(each.type_url))
            for each in types
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        await eventually(condition, 10, "it does not come to that", every=0.001)

    async def known(self, name: str, *, to: Bound | None = None) -> None:
        """Until the observation has come: `to` this."""

        def there() -> bool:
            state = self.it.observatory.state(Path.parse(name))
            return isinstance(state, Known) and (to is None or state.addr == to)

        await self.until(there)

    async def says(self, addr: Bound, at: float) -> None:
        """The platform says something else of users, at this time."""
        self.now = at
        self.it.one.state(USERS, addr)
        await self.known("/#/one/users", to=addr)


@asynccontextmanager
async def fleet(dtab: str = "/svc => /#/one") -> AsyncIterator[Fleet]:
    """With users in use, at port 80."""
    async with world(dtab) as it:
        server = grpc.aio.server()
        it.ads.add_to(server)
        with folder() as place:
            listen(server, place / "run" / "xds.sock")
            await server.start()
            try:
                started = Fleet(it, f"unix:{place}/run/xds.sock")
                it.one.truth[USERS] = it.two.truth[USERS] = at(80)
                it.ask("users")
                await started.until(lambda: it.scope("users") is not None)
                yield started
            finally:
                await server.stop(None)


def ports(*numbers: int) -> Bound:
    addr = at(*numbers)
    assert isinstance(addr, Bound)
    return addr


async def test_a_change_counts_from_what_the_source_says_until_the_proxy_has_acknowledged_it() -> None:
    async with fleet() as it, it.proxy() as proxy:
        proxy.takes.clear()
        await it.says(ports(80, 81), at=100)
        await it.until(lambda: proxy.got[-1] == ENDPOINTS)
        assert (it.counted(), it.propagation.unacknowledged()) == ((0, 0), {ONE: 1})
        it.now = 100.004
        proxy.takes.set()
        await it.until(lambda: it.counted()[0] == 1)
        assert it.counted() == (1, pytest.approx(0.004))
        assert dict(it.propagation.delays[ONE].cumulative)[0.005] == 1
        assert dict(it.propagation.delays[ONE].cumulative)[0.0025] == 0
        assert (it.counted(TWO), it.propagation.unacknowledged()) == ((0, 0), {})


async def test_what_changes_no_byte_for_envoy_is_no_change() -> None:
    async with fleet() as it, it.proxy():
        (endpoint,) = ports(80).endpoints
        await it.says(bound([replace(endpoint, origin="users-1")]), at=1)
        it.it.one.fail(Unavailable("no network"))
        held = Path.parse("/#/one/users")
        await it.until(lambda: it.it.observatory.held_since(held) is not None)
        assert (it.counted(), it.propagation.unacknowledged()) == ((0, 0), {})
        assert it.synced()


async def test_a_first_answer_is_no_change() -> None:
    async with fleet() as it, it.proxy():
        it.it.one.truth[Path(("orders",))] = ports(90)
        it.it.ask("orders")
        await it.until(lambda: it.it.scope("orders") is not None and it.synced())
        assert (it.counted(), it.propagation.unacknowledged()) == ((0, 0), {})


async def test_a_change_that_is_superseded_counts_once_from_its_first_publication() -> None:
    async with fleet() as it, it.proxy() as proxy:
        proxy.takes.clear()
        for number in range(100):
            await it.says(ports(80, 1000 + number), at=float(number))
        assert it.propagation.unacknowledged() == {ONE: 1}
        it.now = 200
        proxy.takes.set()
        await it.until(lambda: it.counted()[0] > 0 and it.synced())
        assert it.counted() == (1, 200)


async def test_the_slowest_of_several_proxies_counts() -> None:
    async with fleet() as it, it.proxy(), it.proxy() as slow:
        slow.takes.clear()
        await it.says(ports(81), at=0)
        await it.until(lambda: sum(each.in_flight_age is not None for s in it.it.ads.status() for each in s.types) == 1)
        it.now = 7
        assert it.counted() == (0, 0)
        slow.takes.set()
        await it.until(lambda: it.counted()[0] == 1)
        assert it.counted() == (1, 7)


async def test_what_a_proxy_refuses_is_not_counted_and_what_follows_counts_for_itself() -> None:
    async with fleet() as it, it.proxy() as proxy:
        proxy.refuses = ENDPOINTS
        await it.says(ports(81), at=0)
        await it.until(lambda: any(stream.types[1].refused for stream in it.it.ads.status()))
        assert (it.counted(), it.propagation.unacknowledged()) == ((0, 0), {})
        proxy.refuses = ""
        await it.says(ports(82), at=50)
        await it.until(lambda: it.counted()[0] == 1)
        assert it.counted() == (1, 0)


async def test_a_proxy_that_goes_away_without_a_word_leaves_nothing_behind() -> None:
    async with fleet() as it:
        async with it.proxy() as proxy:
            proxy.takes.clear()
            await it.says(ports(81), at=0)
            assert it.propagation.unacknowledged() == {ONE: 1}
        await it.until(lambda: not it.it.ads.status())
        assert it.propagation.unacknowledged() == {}
        async with it.proxy():
            await it.says(ports(82), at=500)
            await it.until(lambda: it.counted()[0] == 1)
        assert it.counted() == (1, 0)


async def test_what_was_acknowledged_unnoticed_does_not_lend_its_age_to_what_follows() -> None:
    """As when a proxy comes back that has it already, and says so without an acknowledgement."""
    async with fleet() as it:
        async with it.proxy() as proxy:
            proxy.takes.clear()
            await it.says(ports(81), at=0)
        await it.until(lambda: not it.it.ads.status())
        async with it.proxy():
            it.it.events.clear()
            await it.says(ports(82), at=500)
            await it.until(lambda: it.counted()[0] == 1)
        assert it.counted() == (1, 0)


async def test_with_no_proxy_there_is_nothing_to_wait_for() -> None:
    async with fleet() as it:
        await it.says(ports(81), at=0)
        assert (it.counted(), it.propagation.unacknowledged()) == ((0, 0), {})


async def test_a_name_that_is_used_no_more_is_waited_for_no_more() -> None:
    async with fleet() as it, it.proxy() as proxy:
        proxy.takes.clear()
        await it.says(ports(81), at=0)
        assert it.propagation.unacknowledged() == {ONE: 1}
        it.it.binder.drop(it.it.ask("users"))
        assert it.propagation.unacknowledged() == {}
        proxy.takes.set()
        await it.until(it.synced)
        assert it.counted() == (0, 0)


async def test_a_name_that_goes_to_its_alternate_counts_when_the_proxy_has_the_new_way() -> None:
    async with fleet("/svc => /#/one | /#/two ; /svc/also => /#/two/users") as it, it.proxy() as proxy:
        it.it.ask("also")
        await it.until(lambda: it.it.scope("also") is not None and it.synced())
        proxy.takes.clear()
        it.now = 10
        it.it.one.state(USERS, Neg())
        await it.until(lambda: it.it.leads_to("users") == {"/#/two/users": 1})
        assert it.propagation.unacknowledged() == {ONE: 1}
        it.now = 11
        proxy.takes.set()
        await it.until(lambda: it.counted()[0] == 1)
        assert it.synced()
        assert (it.counted(), it.counted(TWO)) == ((1, 1), (0, 0))


def test_a_delay_is_in_the_bucket_of_its_bound_and_in_all_above() -> None:
    delays = Delays()
    for seconds in (0.0, 0.001, 0.0011, 10.0, 11.0):
        delays.add(seconds)
    found = dict(delays.cumulative)
    assert (found[0.001], found[0.0025], found[5.0], found[10.0], found[float("inf")]) == (2, 3, 3, 4, 5)
    assert (delays.seconds, BUCKETS[0], BUCKETS[-1]) == (pytest.approx(21.0021), 0.001, 10.0)
