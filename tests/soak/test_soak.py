"""Long runs: `make soak`. SOAK_SECONDS says how long each one takes; five minutes unless said."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest

from bench.processes import rss_megabytes
from demo.calls import load
from scripts.running import eventually, service
from tests.host import PATIENCE, host
from tests.soak.pace import SECONDS

pytestmark = pytest.mark.soak


async def test_a_brain_killed_again_and_again_costs_no_request() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        async with load(started.agent.url, "users") as seen:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                brain = started.agent.children()["brain"]
                os.kill(brain, signal.SIGKILL)
                await eventually(lambda old=brain: started.agent.children().get("brain", old) != old, 30, "no brain")  # type: ignore[misc]
                await started.agent.until_ready()
        assert not seen.failed, seen.failed
        print(f"{seen.answers.total()} requests, 0 failed")


async def test_names_that_change_without_end_leak_nothing_and_fail_nothing() -> None:
    rng = random.Random(1)
    async with host(names={"idle": "2s", "negative": "1s", "linger": "1s"}) as started, service("ok") as port:
        started.put("steady", port)
        await started.until("steady", "ok")
        async with load(started.agent.url, "steady") as seen:
            warm = 0.0
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                name = f"name-{rng.randrange(2000)}"
                if rng.random() < 0.8:
                    started.put(name, port)
                    assert (await started.call(name)).status == 200
                else:
                    (started.disco / name).unlink(missing_ok=True)
                    await started.call(name)
                if not warm and until - time.monotonic() < SECONDS / 2:
                    warm = rss_megabytes(started.agent.children()["brain"])
            grown = rss_megabytes(started.agent.children()["brain"]) - warm
        assert not seen.failed, seen.failed
        await started.no_nacks()
        print(f"the brain grew by {grown:.1f} MB in the second half")
        assert grown < 20


async def test_hot_restarts_again_and_again_cost_no_request() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        async with load(started.agent.url, "users") as seen:
            until, epoch = time.monotonic() + SECONDS, 0
            while time.monotonic() < until:
                epoch += 1
                started.agent.process.send_signal(signal.SIGUSR1)

                async def restarted(epoch: int = epoch) -> bool:
                    envoy = (await started.json("/status"))["envoy"]
                    assert isinstance(envoy, dict)
                    return envoy.get("epoch") == epoch and envoy.get("state") == "LIVE"

                await eventually(restarted, PATIENCE * 2, f"no Envoy of epoch {epoch}")
                # The parent leaves before the next one comes: Envoy knows two generations.
                await asyncio.sleep(4)
        assert not seen.failed, seen.failed
