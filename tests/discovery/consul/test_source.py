"""Against answers that a real Consul can't be made to give. `test_real_consul` is the other half."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from discovery.address import Neg
from discovery.consul.config import ConsulConfig
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable
from tests.discovery.contract import ONE, TWO, watching
from tests.fakes.consul import FakeConsul, fake_consul, instance

WEB = Path(("dc1", "web"))


@pytest.fixture
async def consul() -> AsyncIterator[FakeConsul]:
    async with fake_consul() as running:
        running.put("web", instance(*ONE))
        yield running


async def refused(consul: FakeConsul, name: Path = WEB, **options: object) -> SourceError:
    """How the observation ends, nothing having been published."""
    config = ConsulConfig.model_validate({"kind": "consul", "address": consul.url, **options})
    async with config.open() as source, watching(source, name) as watch:
        error = await watch.ends()
        assert watch.published == []
        return error


async def test_an_index_that_goes_backwards_leads_back_to_a_plain_read(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as watch:
        await consul.has_been_asked(2)
        consul.put("web", instance(*TWO), index=3)
        await watch.sees(TWO)
        await consul.has_been_asked(4)
    indexes = [asked.query.get("index") for asked in consul.asked]
    assert indexes == [None, "10", None, "3"]


@pytest.mark.parametrize("index", [None, "0", "-5", "x"])
async def test_without_an_index_it_is_read_at_intervals(consul: FakeConsul, index: str | None) -> None:
    consul.index, consul.blocks = index, False
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        consul.put("web", instance(*TWO))
        await watch.sees(TWO)
    assert [asked.query.get("index") for asked in consul.asked] == [None, None]
    assert consul.asked[1].at - consul.asked[0].at > 0.9


async def test_a_server_that_never_blocks_is_not_asked_without_end(consul: FakeConsul) -> None:
    consul.blocks = False
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB):
        await consul.has_been_asked(7)
    assert consul.asked[6].at - consul.asked[0].at > 0.4


async def test_an_answer_without_news_is_published_as_the_very_same_value(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        await consul.has_been_asked(2)
        consul.wake()
        await watch.until(lambda watch: len(watch.published) == 2, "a second answer")
        assert watch.published[0] is watch.published[1]


async def test_the_first_question_does_not_block_and_the_next_waits_as_configured(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url, wait=7).open() as source, watching(source, WEB):
        await consul.has_been_asked(2)
    first, second = consul.asked
    assert dict(first.query) == {"dc": "dc1"}
    assert dict(second.query) == {"dc": "dc1", "index": "10", "wait": "7000ms"}


async def test_the_options_reach_consul(consul: FakeConsul) -> None:
    config = ConsulConfig.model_validate(
        {
            "kind": "consul",
            "address": consul.url,
            "include_tag": True,
            "consistency": "stale",
            "namespace": "n",
            "partition": "p",
            "token": "s3cret",
        }
    )
    async with config.open() as source, watching(source, Path((".local", "blue", "web"))) as watch:
        await watch.sees_none()
    assert dict(consul.asked[0].query) == {"stale": "", "ns": "n", "partition": "p"}
    assert consul.asked[0].headers["X-Consul-Token"] == "s3cret"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"<html>busy</html>", "expected value"),
        (json.dumps([instance(*ONE), instance(*TWO)]).encode()[:-40], "EOF"),
        (b'[{"Node": {}}]', "0.Node.Node: Field required"),
        (b"null", "valid array"),
        (b"", "EOF"),
    ],
)
async def test_garbage_is_unavailable_and_says_what_was_wrong(consul: FakeConsul, body: bytes, where: str) -> None:
    consul.garble("web", body)
    error = await refused(consul)
    assert isinstance(error, Unavailable)
    assert "/v1/health/service/web makes no sense" in str(error)
    assert where in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Unavailable),
        (503, Unavailable),
        (429, Unavailable),
        (400, Misconfigured),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (301, Misconfigured),
        (204, Misconfigured),
    ],
)
async def test_a_status_is_told_with_what_consul_said_and_without_the_token(
    consul: FakeConsul, status: int, kind: type[SourceError]
) -> None:
    consul.status = status
    consul.garble("web", b"token s3cret\nmay not")
    error = await refused(consul, token="s3cret")
    assert isinstance(error, kind)
    assert f"answers {status}" in str(error)
    assert "s3cret" not in str(error)
    assert status == 204 or "token *** may not" in str(error)


async def test_silence_is_unavailable(consul: FakeConsul) -> None:
    consul.hang()
    error = await refused(consul, timeout="50ms")
    assert isinstance(error, Unavailable)
    assert "has not answered /v1/health/service/web" in str(error)


async def test_nobody_listening_is_unavailable() -> None:
    async with (
        ConsulConfig(address="http://127.0.0.1:1").open() as source,
        watching(source, WEB) as watch,
    ):
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "http://127.0.0.1:1" in str(error)


async def test_an_answer_of_a_server_without_a_leader_is_not_believed(consul: FakeConsul) -> None:
    consul.put("web")
    consul.headers = {"X-Consul-Knownleader": "false"}
    assert "knows no leader" in str(await refused(consul, consistency="stale"))


async def test_a_list_that_acls_have_shortened_is_not_believed(consul: FakeConsul) -> None:
    consul.headers = {"X-Consul-Results-Filtered-By-ACLs": "true"}
    error = await refused(consul)
    assert isinstance(error, Misconfigured)
    assert "service:read" in str(error)


@pytest.mark.parametrize("policy", [{}, {"X-Consul-Default-Acl-Policy": "deny"}])
async def test_nothing_at_all_seen_without_a_token_is_misconfigured(consul: FakeConsul, policy: dict[str, str]) -> None:
    consul.put("web")
    consul.put("consul")
    consul.headers = policy
    error = await refused(consul)
    assert isinstance(error, Misconfigured)
    assert "token_file" in str(error)


async def test_where_acls_allow_by_default_nothing_is_nothing(consul: FakeConsul) -> None:
    consul.put("web")
    consul.headers = {"X-Consul-Default-Acl-Policy": "allow"}
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as watch:
        await watch.sees_none()
        assert {asked.service for asked in consul.asked} == {"web"}


async def test_whether_anything_is_seen_is_asked_once_for_many_names(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source:
        for label in "abc":
            async with watching(source, Path(("dc1", label))) as watch:
                await watch.sees_none()
    assert [asked.service for asked in consul.asked].count("consul") == 1


@pytest.mark.parametrize("label", ["..", ".", "a/../b", "a//b", "/"])
async def test_a_name_that_no_url_can_hold_does_not_exist(consul: FakeConsul, label: str) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, Path(("dc1", label))) as watch:
        await watch.sees_none()
    assert consul.asked == []


@pytest.mark.parametrize("label", ["a b", "a?dc=x", "a#b", "a%2Fb", "ä", "\udcff", "a/b", "\x00"])
async def test_a_strange_name_is_asked_for_as_it_is(consul: FakeConsul, label: str) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, Path(("dc1", label))) as watch:
        await watch.sees_none()
    # The server leaves bytes that are not UTF-8 as they were sent.
    assert consul.asked[0].service == ("%FF" if label == "\udcff" else label)


async def test_names_that_do_not_exist_leave_slots_to_those_that_do(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url, max_watches=2).open() as source, asyncio.TaskGroup() as group:
        absent = [
            group.create_task(source.observe(Path(("dc1", f"no{number}")), lambda _: None)) for number in range(20)
        ]
        async with watching(source, WEB) as watch:
            await watch.sees(ONE)
            consul.put("web", instance(*TWO), index=11)
            await watch.sees(TWO)
        for task in absent:
            task.cancel()


async def test_host_names_are_resolved_again_when_their_ttl_has_passed(consul: FakeConsul) -> None:
    answers = iter([(("10.0.0.1",), 0.01), (("10.0.0.2",), 60.0)])

    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        assert host == "db.example"
        return next(answers)

    consul.put("web", instance("db.example", 8080))
    async with ConsulConfig(address=consul.url).open() as source:
        source.asking.reader.resolve = resolve
        async with watching(source, WEB) as watch:
            await watch.sees(ONE)
            await consul.has_been_asked(2)
            assert consul.asked[1].query["wait"] == "1000ms"
            await watch.sees(TWO)


async def test_a_host_name_that_cannot_be_resolved_is_an_error(consul: FakeConsul) -> None:
    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        raise Unavailable(f"DNS: {host} A: SERVFAIL")

    consul.put("web", instance(*TWO), instance("db.example", 8080))
    async with ConsulConfig(address=consul.url).open() as source:
        source.asking.reader.resolve = resolve
        async with watching(source, WEB) as watch:
            assert "SERVFAIL" in str(await watch.ends())
            assert watch.published == []


async def test_absence_is_neg_also_at_first(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, Path(("dc1", "no"))) as watch:
        await watch.sees_none()
        assert watch.published[0] == Neg()
