"""Beside Traefik, on the same Consul and the same Docker daemon: how soon a change is served, and what rolling costs.

Tieline and Traefik, as it comes and tuned, watch one platform and are called for the whole time. Every change is made
once and timed for all of them at once, so what the machine does meanwhile happens to each:

- change: the one instance of a service is replaced. From when the platform is told to the first answer of the new one.
- rolling: a service's instances are replaced one after the other, as a careful deployment does it: the new one is made
  known, then the old one is taken out, and ended GRACE_SECONDS later. What was not answered with 200 is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import uvloop

from bench.contenders import until_open
from bench.fleets import Fleet, Instance, fleets
from bench.processes import percentile
from bench.report import arguments, finish, show
from bench.traefik import traefik
from scripts.running import agent, folder

GRACE_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
"""Traefik has been seen to miss a container that had just started, until the next event."""
INSTANCES = 4
PAUSE_SECONDS = 0.002


@dataclass(slots=True)
class Seen:
    """What one proxy's caller got. `first`: when each answer came for the first time since it was forgotten."""

    name: str
    url: str
    answers: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, answer: str) -> None:
        self.answers[answer] += 1
        if answer not in self.first:
            self.first[answer] = time.perf_counter()
            self.changed.set()

    async def until(self, answer: str) -> float:
        while answer not in self.first:
            self.changed.clear()
            await self.changed.wait()
        return self.first[answer]


async def _call_on(session: aiohttp.ClientSession, seen: Seen) -> None:
    while True:
        try:
            async with session.get(seen.url, headers={"host": "users"}) as response:
                text = (await response.text()).strip()
                if response.status == 200:
                    seen.saw(text)
                else:
                    seen.lost[str(response.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.lost[type(error).__name__] += 1
        await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def _called(proxies: dict[str, int]) -> AsyncIterator[list[Seen]]:
    each = [Seen(name, f"http://127.0.0.1:{port}/") for name, port in proxies.items()]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_call_on(session, seen)) for seen in each]
        try:
            yield each
        finally:
            for task in running:
                task.cancel()


@asynccontextmanager
async def _proxies(fleet: Fleet) -> AsyncIterator[dict[str, int]]:
    async with AsyncExitStack() as stack:
        place = stack.enter_context(folder())
        settings: dict[str, object] = {"dtab": fleet.dtab, "sources": [fleet.settings]}
        ours = stack.enter_context(agent(place, settings))
        await ours.until_ready()
        ports = {"tieline": ours.port}
        for name, options in fleet.traefik.items():
            (place / name.replace(" ", "-")).mkdir()
            ports[name] = stack.enter_context(traefik(place / name.replace(" ", "-"), options))
        for port in ports.values():
            await until_open(port)
        yield ports


async def _changes(fleet: Fleet, each: list[Seen], count: int) -> dict[str, list[float]]:
    """Seconds by proxy. A proxy that had not seen a change within PATIENCE_SECONDS counts as that long."""
    times: dict[str, list[float]] = {seen.name: [] for seen in each}
    old = await fleet.start("change-0")
    await fleet.add(old)
    await _all(each, "change-0")
    for turn in range(1, count + 1):
        fresh = await fleet.start(f"change-{turn}")
        began = await fleet.replace(old, fresh)
        ended = await _all(each, fresh.answer)
        for seen, at in zip(each, ended, strict=True):
            times[seen.name].append(at - began)
        await fleet.stop(old)
        old = fresh
    await fleet.remove(old)
    await fleet.stop(old)
    return times


async def _all(each: Sequence[Seen], answer: str) -> list[float]:
    async def one(seen: Seen) -> float:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await seen.until(answer)
        except TimeoutError:
            return time.perf_counter()

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(one(seen)) for seen in each]
    return [task.result() for task in waiting]


async def _rolling(fleet: Fleet, each: list[Seen], rounds: int) -> dict[str, tuple[int, int]]:
    """(lost, all) by proxy."""
    running: list[Instance] = []
    for number in range(INSTANCES):
        running.append(await fleet.start(f"rolling-{number}"))
        await fleet.add(running[-1])
    for instance in running:
        await _all(each, instance.answer)
    for seen in each:
        seen.answers.clear()
        seen.lost.clear()
    for turn in range(rounds):
        for number in range(INSTANCES):
            fresh = await fleet.start(f"rolling-{turn}-{number}")
            await fleet.add(fresh)
            old = running.pop(0)
            await fleet.remove(old)
            await asyncio.sleep(GRACE_SECONDS)
            await fleet.stop(old)
            running.append(fresh)
    await asyncio.sleep(GRACE_SECONDS)
    return {seen.name: (seen.lost.total(), seen.lost.total() + seen.answers.total()) for seen in each}


async def measure(fleet: Fleet, changes: int, rounds: int) -> dict[str, dict[str, float]]:
    async with _proxies(fleet) as ports, _called(ports) as each:
        times = await _changes(fleet, each, changes)
        lost = await _rolling(fleet, each, rounds)
    ours = percentile(times["tieline"], 0.5)
    return {
        name: {
            "p50_ms": percentile(seconds, 0.5) * 1000,
            "max_ms": max(seconds) * 1000,
            "unseen": float(sum(each >= PATIENCE_SECONDS for each in seconds)),
            "ratio": percentile(seconds, 0.5) / ours,
            "lost": float(lost[name][0]),
            "requests": float(lost[name][1]),
        }
        for name, seconds in times.items()
    }


async def _all_fleets(*, quick: bool) -> dict[str, object]:
    changes, rounds = (3, 1) if quick else (12, 3)
    found: dict[str, object] = {}
    for name, opened in fleets().items():
        if isinstance(opened, str):
            print(f"{name}: {opened}, left out")
            continue
        async with opened() as fleet:
            found[name] = await measure(fleet, changes, rounds)
    return found


def main() -> None:
    options = arguments(__doc__ or "")
    platforms = uvloop.run(_all_fleets(quick=options.quick))
    keys = ("p50_ms", "max_ms", "unseen", "ratio", "lost", "requests")
    for platform, rows in platforms.items():
        assert isinstance(rows, dict)
        shown = [[name, *(figures[key] for key in keys)] for name, figures in rows.items()]
        show(f"{platform}: change → first answer of the new instance; requests lost while rolling", ["", *keys], shown)
    finish({"benchmark": "rolling", "platforms": platforms}, as_json=options.json)


if __name__ == "__main__":
    main()
