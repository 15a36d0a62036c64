"""The whole source against a fake API server that speaks the wire; others judge it in `test_fake_kubernetes`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

import pytest

from discovery.address import Bound, Health, Protocol
from discovery.kubernetes.config import KubernetesConfig
from discovery.path import Path
from discovery.shared import Shared
from discovery.source import Catalog, Misconfigured, Unavailable
from tests.discovery.contract import ONE, TWO, Key, SourceContract, World, eventually, keys, watching
from tests.fakes.kubernetes import FakeKubernetes, fake_kubernetes, kubeconfig

USERS = Path(("shop", "http", "users"))
HTTP = [{"name": "http", "port": 80, "targetPort": "web"}]


def pods(*addresses: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"users-{address}", "uid": f"uid-{address}"},
            "nodeName": "node-a",
            "zone": "eu-1a",
            **more,
        }
        for address in addresses
    ]


def port(number: int, name: str = "http", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": "TCP", **more}


def users(fake: FakeKubernetes, *addresses: str, slice_name: str = "users-1", namespace: str = "shop") -> None:
    fake.put_slice(namespace, "users", slice_name, pods(*addresses), [port(8080)])


class KubernetesWorld(World):
    """One slice per port number."""

    def __init__(self, fake: FakeKubernetes) -> None:
        self.fake = fake
        self._ports: dict[Path, set[int]] = {}
        self._services: set[Path] = set()

    def name(self, label: str) -> Path:
        return Path(("shop", "http", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        if name not in self._services:
            await self.empty(name)
        known = self._ports.setdefault(name, set())
        for number in {number for _, number in endpoints} | known:
            at = [address for address, each in endpoints if each == number]
            self.fake.put_slice("shop", name[2], f"{name[2]}-{number}", pods(*at), [port(number)])
            known.add(number)

    async def remove(self, name: Path) -> None:
        self.fake.delete("services", "shop", name[2])
        self._services.discard(name)
        for number in self._ports.pop(name):
            self.fake.delete("endpointslices", "shop", f"{name[2]}-{number}")

    async def empty(self, name: Path) -> None:
        self.fake.put_service("shop", name[2], HTTP)
        self._services.add(name)

    async def go_dark(self) -> None:
        await self.fake.go_dark()

    async def come_back(self) -> None:
        await self.fake.come_back()

    async def garble(self, name: Path) -> None:
        self.fake.garble()

    async def halve(self, name: Path) -> None:
        self.fake.halve()

    async def misconfigure(self) -> None:
        self.fake.refuse(403, "Forbidden")

    async def stall(self) -> None:
        self.fake.stall()

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.fake.silent = True
        await self.put(name, *endpoints)
        self.fake.silent = False


@asynccontextmanager
async def observed(fake: FakeKubernetes, **settings: Any) -> AsyncIterator[Shared]:
    async with KubernetesConfig.model_validate({"url": fake.url, **settings}).open() as source:
        yield source


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubernetes]:
    async with fake_kubernetes() as served:
        yield served


class TestKubernetesContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_kubernetes() as fake, observed(fake) as source:
            world = KubernetesWorld(fake)
            world.source = source
            yield world


class TestContractInPagesOfOneNamespace(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_kubernetes() as fake, observed(fake, namespaces=["shop", "other"], page_size=1) as source:
            world = KubernetesWorld(fake)
            world.source = source
            yield world


async def watched(fake: FakeKubernetes) -> None:
    """Both watches have begun. Until then the truth that is published is that of the lists."""
    await eventually(lambda: len(questions(fake)[1]) == 2, "two watches")


def questions(fake: FakeKubernetes) -> tuple[list[str], list[str]]:
    """Pages of lists, and watches."""
    watches = [asked for asked in fake.asked if "watch=true" in asked]
    return [asked for asked in fake.asked if asked not in watches], watches


# What an endpoint is


async def test_an_endpoint_says_all_that_kubernetes_says(fake: FakeKubernetes) -> None:
    fake.put_service("shop", "users", HTTP)
    fake.put_slice("shop", "users", "users-1", pods("10.0.0.1"), [port(8080, appProtocol="kubernetes.io/h2c")])
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        assert isinstance(watch.latest, Bound)
        (endpoint,) = watch.latest.endpoints
        assert (endpoint.zone, endpoint.host, endpoint.health) == ("eu-1a", "node-a", Health.HEALTHY)
        assert (endpoint.protocol, endpoint.origin) == (Protocol.HTTP2, "pod shop/users-10.0.0.1")


async def test_a_pod_that_terminates_drains_and_then_is_gone(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1", "10.0.0.2")
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE, TWO)
        leaving = {"ready": False, "serving": True, "terminating": True}
        both = [*pods("10.0.0.1"), *pods("10.0.0.2", conditions=leaving)]
        fake.put_slice("shop", "users", "users-1", both, [port(8080)])

        def drains(watch: Any) -> bool:
            return [each.health for each in watch.latest.endpoints] == [Health.HEALTHY, Health.DRAINING]

        await watch.until(drains, "one that drains")
        users(fake, "10.0.0.1")
        await watch.sees(ONE)


async def test_a_number_leads_where_the_service_says_and_follows_it(fake: FakeKubernetes) -> None:
    fake.put_service("shop", "users", HTTP)
    fake.put_slice("shop", "users", "users-1", pods("10.0.0.1"), [port(8080), port(9090, "admin")])
    async with observed(fake) as source, watching(source, Path(("shop", "80", "users"))) as watch:
        await watch.sees(ONE)
        fake.put_service("shop", "users", [{"name": "admin", "port": 80}])
        await watch.sees(("10.0.0.1", 9090))
        fake.put_service("shop", "users", [{"name": "admin", "port": 81}])
        await watch.sees_none()


async def test_slices_of_two_families_are_one_service(fake: FakeKubernetes) -> None:
    fake.put_service("shop", "users", HTTP)
    fake.put_slice("shop", "users", "users-4", pods("10.0.0.1"), [port(8080)])
    six = pods("fd00::1", targetRef=pods("10.0.0.1")[0]["targetRef"])
    fake.put_slice("shop", "users", "users-6", six, [port(8080)], "IPv6")
    for family, expected in (("v4_preferred", "10.0.0.1"), ("v6_only", "fd00::1")):
        async with observed(fake, family=family) as source, watching(source, USERS) as watch:
            await watch.sees((expected, 8080))


async def test_another_name_is_resolved(fake: FakeKubernetes) -> None:
    fake.put_service("shop", "db", type="ExternalName", externalName="localhost")
    async with observed(fake) as source, watching(source, Path(("shop", "5432", "db"))) as watch:
        await watch.sees(("127.0.0.1", 5432))
        fake.put_service("shop", "db", type="ExternalName", externalName="10.9.0.1")
        await watch.sees(("10.9.0.1", 5432))


async def test_host_names_of_slices_are_resolved(fake: FakeKubernetes) -> None:
    fake.put_slice("shop", "users", "users-1", [{"addresses": ["localhost"]}], [port(8080)], "FQDN")
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(("127.0.0.1", 8080))


# What is observed


async def test_names_are_listed_by_the_name_of_their_port_else_by_its_number(fake: FakeKubernetes) -> None:
    fake.put_service("shop", "users", [*HTTP, {"name": "dns", "port": 53, "protocol": "UDP"}])
    fake.put_service("other", "orders", [{"port": 8000}])
    users(fake, "10.0.0.1", slice_name="bare-1", namespace="bare")
    async with observed(fake) as source:
        assert isinstance(source, Catalog)
        found = {name.show() for name in await source.names()}
    assert found == {"/shop/http/users", "/other/8000/orders", "/bare/http/users"}


async def test_two_namespaces_are_two_lists_and_watches_and_no_others(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    users(fake, "10.0.0.2", namespace="other")
    users(fake, "10.0.0.9", namespace="third")
    async with observed(fake, namespaces=["shop", "other"]) as source:
        other = Path(("other", "http", "users"))
        async with watching(source, USERS) as first, watching(source, other) as second:
            await first.sees(ONE)
            await second.sees(TWO)
            users(fake, "10.0.0.2", "10.0.0.1", namespace="other")
            await second.sees(ONE, TWO)
            assert first.published == first.published[:1]
        async with watching(source, Path(("third", "http", "users"))) as watch:
            error = await watch.ends()
            assert isinstance(error, Misconfigured)
            assert "add it to namespaces" in str(error)
    assert all("/namespaces/shop/" in asked or "/namespaces/other/" in asked for asked in fake.asked)


async def test_a_selector_goes_with_every_question(fake: FakeKubernetes) -> None:
    labels = {"kubernetes.io/service-name": "users", "team": "shop"}
    body = {"addressType": "IPv4", "endpoints": pods("10.0.0.1"), "ports": [port(8080)]}
    fake.put("endpointslices", "shop", "users-1", {"metadata": {"labels": labels}, **body})
    fake.put_slice("shop", "orders", "orders-1", pods("10.0.0.2"), [port(8080)])
    async with observed(fake, selector="team=shop") as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        async with watching(source, Path(("shop", "http", "orders"))) as other:
            await other.sees_none()
    assert all("labelSelector=team%3Dshop" in asked or "labelSelector=team=shop" in asked for asked in fake.asked)


async def test_one_list_and_one_watch_serve_all_names(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    fake.put_slice("shop", "orders", "orders-1", pods("10.0.0.2"), [port(8080)])
    async with observed(fake) as source, watching(source, USERS) as first:
        await first.sees(ONE)
        async with watching(source, Path(("shop", "http", "orders"))) as second:
            await second.sees(TWO)
            users(fake, "10.0.0.1", "10.0.0.2")
            await first.sees(ONE, TWO)
    assert [len(each) for each in questions(fake)] == [2, 2]


async def test_an_event_of_one_service_is_told_to_those_who_observe_it_only(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    fake.put_slice("shop", "orders", "orders-1", pods("10.0.0.2"), [port(8080)])
    orders = Path(("shop", "http", "orders"))
    async with observed(fake) as source, watching(source, USERS) as first, watching(source, orders) as second:
        await first.sees(ONE)
        await second.sees(TWO)
        await watched(fake)
        users(fake, "10.0.0.1", "10.0.0.2")
        await first.sees(ONE, TWO)
        users(fake, "10.0.0.1")
        await first.sees(ONE)
        assert [keys(addr) for addr in first.published] == [{ONE}, {ONE, TWO}, {ONE}]
        assert [keys(addr) for addr in second.published] == [{TWO}]


# Lists and watches


@pytest.mark.parametrize("unread", ["services", "endpointslices"])
async def test_nothing_is_published_before_both_resources_have_been_read(unread: str, fake: FakeKubernetes) -> None:
    """Without the Service its port has no number; without the slices it has no endpoint."""
    fake.put_service("shop", "users", HTTP)
    users(fake, "10.0.0.1")
    fake.stall(unread)
    async with observed(fake, timeout="500ms") as source, watching(source, Path(("shop", "80", "users"))) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert unread in str(error)
        assert watch.published == []


async def test_a_list_is_read_in_pages(fake: FakeKubernetes) -> None:
    for at in range(5):
        users(fake, f"10.0.0.{at}", slice_name=f"users-{at}")
    async with observed(fake, page_size=2) as source, watching(source, USERS) as watch:
        await watch.until(lambda watch: bool(watch.published), "a first truth")
        assert len(keys(watch.published[0]) or ()) == 5
    assert len([asked for asked in fake.asked if "continue=" in asked]) == 2


@pytest.mark.parametrize("told", ["in the open watch", "in the next watch", "as its status"])
async def test_a_version_that_is_gone_is_no_error_and_loses_nothing(told: str, fake: FakeKubernetes) -> None:
    fake.gone_as_status = told == "as its status"
    users(fake, "10.0.0.1")
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        await watched(fake)
        fake.silent = True
        users(fake, "10.0.0.2")
        fake.silent = False
        if told != "in the open watch":
            fake.cut_watch()
        fake.expire()
        await watch.sees(TWO)
        users(fake, "10.0.0.1", "10.0.0.2")
        await watch.sees(ONE, TWO)
        assert watch.error is None


async def test_a_watch_goes_on_from_a_bookmark(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    async with observed(fake, namespaces=["shop"]) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        await watched(fake)
        for at in range(5):
            users(fake, f"10.0.1.{at}", namespace="other")  # of which the watch hears nothing
        fake.bookmark()
        fake.history = 1  # only who has heard the bookmark can go on without a list
        fake.cut_watch()
        users(fake, "10.0.0.2")
        await watch.sees(TWO)
    assert len(questions(fake)[0]) == 2, "nothing was listed again"


@pytest.mark.parametrize("half_a_line", [False, True])
async def test_a_watch_that_is_cut_off_goes_on_where_it_was(half_a_line: bool, fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        await watched(fake)
        fake.cut_watch(half_a_line=half_a_line)
        users(fake, "10.0.0.2")
        await watch.sees(TWO)
        assert watch.error is None
    assert len(questions(fake)[0]) == 2, "nothing was listed again"


async def test_nonsense_in_a_watch_is_an_error(fake: FakeKubernetes) -> None:
    users(fake, "10.0.0.1")
    async with observed(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        await watched(fake)
        fake.garble()
        users(fake, "10.0.0.2")
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "makes no sense" in str(error)
        assert [keys(addr) for addr in watch.published] == [{ONE}]


# Refusals


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, Misconfigured, "check the token"),
        (403, Misconfigured, "get, list and watch of endpointslices in the group discovery.k8s.io and of services"),
        (404, Misconfigured, "Kubernetes 1.21"),
        (400, Misconfigured, "answers 400"),
        (429, Unavailable, "answers 429"),
        (500, Unavailable, "answers 500"),
        (503, Unavailable, "answers 503"),
    ],
)
async def test_a_refusal_is_what_its_status_says(
    status: int, kind: type[Exception], text: str, fake: FakeKubernetes
) -> None:
    fake.refuse(status)
    async with observed(fake) as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, kind)
        assert text in str(error)
        assert fake.url in str(error)


async def test_a_token_is_shown_to_the_server_and_renewed_from_its_file(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("0ld")
    async with fake_kubernetes(token="n3w") as fake:
        users(fake, "10.0.0.1")
        async with observed(fake, token_file=str(file)) as source:
            async with watching(source, USERS) as watch:
                error = await watch.ends()
                assert isinstance(error, Misconfigured)
                assert "0ld" not in str(error)
            file.write_text("n3w")
            async with watching(source, USERS) as watch:
                await watch.sees(ONE)


async def test_a_server_that_does_not_answer_is_unavailable(fake: FakeKubernetes) -> None:
    fake.stall()
    async with observed(fake, timeout="50ms") as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "within 0.05 s" in str(error)


async def test_by_kubeconfig_and_tls(tmp_path: FilePath) -> None:
    async with fake_kubernetes(tls=True, token="t0ken") as fake:
        users(fake, "10.0.0.1")
        for settings in ({}, {"context": "fake"}):
            config = KubernetesConfig.model_validate({"kubeconfig": str(kubeconfig(fake, tmp_path)), **settings})
            async with config.open() as source, watching(source, USERS) as watch:
                await watch.sees(ONE)
                users(fake, "10.0.0.1", "10.0.0.2")
                await watch.sees(ONE, TWO)
                users(fake, "10.0.0.1")


async def test_a_certificate_that_nobody_vouches_for_is_unavailable() -> None:
    async with fake_kubernetes(tls=True) as fake, observed(fake) as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "certificate" in str(error)


async def test_several_clusters_are_several_sources() -> None:
    async with fake_kubernetes() as one, fake_kubernetes() as two, observed(one) as first, observed(two) as second:
        users(one, "10.0.0.1")
        users(two, "10.0.0.2")
        async with watching(first, USERS) as here, watching(second, USERS) as there:
            await here.sees(ONE)
            await there.sees(TWO)


async def test_a_slice_that_makes_no_sense_is_an_error_of_its_service_alone(fake: FakeKubernetes) -> None:
    async with observed(fake) as source:
        world = KubernetesWorld(fake)
        users, orders = world.name("users"), world.name("orders")
        await world.put(users, ONE)
        await world.put(orders, TWO)
        fake.put_slice("shop", "orders", "orders-by-hand", [{"addresses": ["010.0.0.9"]}], [port(80)])
        async with watching(source, users) as first, watching(source, orders) as second:
            assert "orders-by-hand: endpoints.0.addresses.0: an address expected" in str(await second.ends())
            await first.sees(ONE)
            assert first.error is None
