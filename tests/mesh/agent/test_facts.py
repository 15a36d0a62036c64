"""What a real agent tells of itself: its metrics as a third party reads them, status, explain, all names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.running import eventually, service
from tests.host import Host, host

DTAB = "/svc => /#/files ; /svc/fallback => /#/files/first | /#/files/second"
INET = ("/$/inet", "/$/io.buoyant.rinet")


@pytest.fixture
async def alone() -> AsyncIterator[Host]:
    async with host(DTAB, naming={"bind_timeout": "300ms"}) as started:
        yield started
        await started.no_nacks()


Labels = tuple[tuple[str, str], ...]


async def _metrics(host: Host) -> dict[str, dict[Labels, float]]:
    """Each of our samples of the real page, as a third party's parser reads it."""
    _, text = await host.agent.ask("/metrics")
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("tieline_"):
                assert family.documentation, family.name
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def _of(host: Host, name: str, source: str = "/#/files", **labels: str) -> float | None:
    wanted = {"source": source, **labels}.items()
    samples = (await _metrics(host))[name]
    found = [value for labels, value in samples.items() if wanted <= set(labels)]
    assert len(found) <= 1, (name, samples)
    return found[0] if found else None


FILES = (("kind", "files"), ("source", "/#/files"))


async def test_metrics_tell_of_every_source_how_fresh_it_is_and_what_fails(alone: Host) -> None:
    async with service("fresh") as port:
        quiet = await _metrics(alone)
        assert quiet["tieline_source_observed_names"][FILES] == 0
        assert quiet["tieline_source_errors_total"][FILES] == 0
        assert (FILES in quiet["tieline_source_observed_names"], quiet.get("tieline_source_up", {})) == (True, {})
        assert {dict(labels)["source"] for labels in quiet["tieline_source_held_names"]} == {"/#/files", *INET}
        alone.put("fresh", port)
        await alone.call("fresh")
        await alone.call("missing")
        fresh = await _metrics(alone)
        assert fresh["tieline_source_up"] == {FILES: 1}
        assert fresh["tieline_source_observed_names"][FILES] == 2
        assert fresh["tieline_source_held_names"][FILES] == fresh["tieline_source_failed_names"][FILES] == 0
        newest = fresh["tieline_source_newest_confirmation_age_seconds"][FILES]
        assert 0 <= newest <= fresh["tieline_source_oldest_confirmation_age_seconds"][FILES] < 60
        assert fresh["tieline_observations"][(("kind", "files"), ("state", "known"))] == 2

        alone.put("fresh", lines="127.0.0.1 http\n")
        alone.put("bad", lines="nonsense\n")
        await alone.call("bad")
        await eventually(lambda: _is(alone, "tieline_source_held_names", 1), 10, "nothing is held")
        broken = await _metrics(alone)
        assert broken["tieline_source_failed_names"][FILES] == 1
        assert broken["tieline_source_errors_total"][FILES] >= 2
        assert broken["tieline_source_up"] == {FILES: 1}
        age = broken["tieline_source_oldest_confirmation_age_seconds"][FILES]
        assert age >= fresh["tieline_source_oldest_confirmation_age_seconds"][FILES]
        assert broken["tieline_observations"][(("kind", "files"), ("state", "held"))] == 1

        alone.disco.rename(alone.disco.with_name("away"))
        await eventually(lambda: _is(alone, "tieline_source_up", 0), 10, "a source that answers nothing is up")
        alone.disco.with_name("away").rename(alone.disco)
        alone.put("fresh", port)
        await eventually(lambda: _is(alone, "tieline_source_up", 1), 10, "a source that answers again is down")
        await eventually(lambda: _is(alone, "tieline_source_held_names", 0), 10, "it is held although it is there")
        assert (await _metrics(alone))["tieline_source_errors_total"][FILES] > broken["tieline_source_errors_total"][
            FILES
        ]


async def _is(host: Host, name: str, value: float) -> bool:
    return await _of(host, name) == value


BOUNDS = [
    "0.001",
    "0.0025",
    "0.005",
    "0.01",
    "0.025",
    "0.05",
    "0.1",
    "0.25",
    "0.5",
    "1.0",
    "2.5",
    "5.0",
    "10.0",
    "+Inf",
]


async def test_a_change_is_counted_once_when_the_real_envoy_has_acknowledged_it(alone: Host) -> None:
    async with service("one") as one, service("two") as two:
        alone.put("growing", one)
        await alone.until("growing", "one")
        assert await _of(alone, "tieline_propagation_seconds_count") == 0
        both = f"127.0.0.1 {one}\n127.0.0.1 {two}"
        for number, lines in enumerate([both, f"{both} * 3", both], 1):
            alone.put("growing", lines=f"{lines}\n")
            await eventually(_counted(alone, number), 10, "the change is not counted")
        await alone.until("growing", "two")
        alone.put("growing", lines=f"{both}   # the same\n")
        alone.put("other", one)
        await alone.until("other", "one")
        assert await _of(alone, "tieline_propagation_seconds_count") == 3
    buckets = [await _of(alone, "tieline_propagation_seconds_bucket", le=bound) for bound in BOUNDS]
    assert [number for number in buckets if number is None] == []
    assert buckets == sorted(buckets, key=lambda number: number or 0)
    assert buckets[-1] == 3
    seconds = await _of(alone, "tieline_propagation_seconds_sum")
    assert seconds is not None
    assert 0 < seconds < 30
    assert await _of(alone, "tieline_propagation_unacknowledged") == 0
    assert await _of(alone, "tieline_propagation_seconds_count", "/$/inet") == 0


def _counted(host: Host, number: int) -> Callable[[], Awaitable[bool]]:
    return lambda: _is(host, "tieline_propagation_seconds_count", number)


async def test_explain_shows_the_source_its_freshness_and_what_is_held(alone: Host) -> None:
    async with service("kept") as port:
        alone.put("second", lines=f"127.0.0.1 {port}\n")
        await alone.until("fallback", "kept")
        alone.put("second", lines="nonsense\n")

        async def held() -> bool:
            return bool((await alone.names())["fallback"]["held"])

        await eventually(held, 10, "nothing is held")
        answer = await alone.json("/explain?name=fallback")
    tree = answer["tree"]
    assert isinstance(tree, dict)
    first, second, *_ = tree["alt"]
    source = {"prefix": "/#/files", "kind": "files", "freshness": "events"}
    assert (first["type"], first["source"], first["state"]["type"]) == ("neg", source, "neg")
    assert (second["type"], second["source"]) == ("leaf", source)
    assert "second:1:9: port expected, the line ends" in second["state"]["held"]
    assert second["state"]["confirmed_at"] <= second["state"]["held_since"] <= time.time()
    endpoints = answer["endpoints"]
    assert isinstance(endpoints, dict)
    told = endpoints["/#/files/second"]
    assert (told["source"], told["held_since"]) == (source, second["state"]["held_since"])
    assert told["endpoints"][0]["origin"] == ""


async def test_status_tells_of_each_source_how_fresh_it_is_and_what_it_has_last_failed_with(alone: Host) -> None:
    alone.put("wrong", lines="127.0.0.1 http\n")
    await alone.call("wrong")
    await alone.call("missing")
    rows = (await alone.json("/status"))["sources"]
    assert isinstance(rows, list)
    row, *others = rows
    assert (row["prefix"], row["kind"], row["freshness"], row["state"]) == ("/#/files", "files", "events", "failed")
    assert row["errors"] >= row["failed"] >= 1
    assert row["newest_confirmed_seconds"] <= row["oldest_confirmed_seconds"]
    assert "port expected, found 'http'" in row["reason"]
    assert row["last_error_seconds"] >= 0
    assert [(each["prefix"], each["errors"], each["last_error"]) for each in others] == [
        (each, 0, None) for each in INET
    ]


async def test_all_names_are_listed_by_source_and_one_that_can_not_be_listed_is_an_error(alone: Host) -> None:
    alone.put("listed", 1)
    rows = (await alone.json("/names?all=1"))["sources"]
    assert isinstance(rows, list)
    files, inet, _ = rows
    assert (files["freshness"], files["count"], files["error"]) == ("events", len(files["names"]), None)
    assert "/#/files/listed" in files["names"]
    assert (inet["lists"], inet["names"], inet["error"]) == (False, None, None)
    sources = [{"kind": "files", "folder": "nowhere"}, {"kind": "static", "names": {"users": ["127.0.0.1:1"]}}]
    async with host("/svc => /#/files", sources=sources) as other:
        rows = (await other.json("/names?all=1"))["sources"]
        assert isinstance(rows, list)
        assert (rows[0]["names"], rows[0]["count"]) == (None, None)
        assert "nowhere: No such file or directory" in rows[0]["error"]
        assert (rows[1]["names"], rows[1]["freshness"]) == (["/#/static/users"], "nothing changes")
