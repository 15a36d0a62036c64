"""Scenario 8, with a real dockerd: killed and started again, while its containers go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from demo.calls import load
from scripts import docker
from scripts.running import eventually
from tests.host import PATIENCE, Host, host

RECOVERY_SECONDS = 5.0
ID = "/#/docker/shop/users"
pytestmark = pytest.mark.skipif(docker.find() is None, reason="no dockerd: `python -m scripts.docker --fetch` says why")


class Daemon(docker.Daemon):
    """With live restore, as whoever restarts it under load has it: else it ends the containers that it finds."""

    def _options(self) -> list[str]:
        return [*super()._options(), "--live-restore"]


@asynccontextmanager
async def daemon() -> AsyncIterator[Daemon]:
    async with docker.daemon(reachable=True) as it:
        await it.kill()
        running = Daemon(it.folder, it.subnet, it.holder, it.env)
        await running.start()
        try:
            yield running
        finally:
            await running.kill()


async def serve(running: Daemon, answer: str) -> str:
    """A container of `users` that says so; its address."""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users", "tieline.port": "80"}
    said = [f"--label={key}={value}" for key, value in labels.items()]
    command = f"echo {answer} > /www/index.html; exec httpd -f -p 80 -h /www"
    await running.cli("run", "-d", "--name", answer, *said, docker.TINY, "sh", "-c", command)
    return await running.address(answer)


async def known(started: Host) -> dict[str, Any]:
    explained: Any = await started.json("/explain?name=users")
    return dict(explained["endpoints"].get(ID, {"endpoints": ()}))


async def until_serves(started: Host, *addresses: str, held: bool, seconds: float) -> None:
    async def so() -> bool:
        found = await known(started)
        return {each["address"] for each in found["endpoints"]} == set(addresses) and bool(found["held"]) == held

    await eventually(so, seconds, f"{ID} does not lead to {addresses}, held: {held}\n{started.agent.tail()}")


async def test_a_dockerd_that_is_killed_and_started_again_costs_no_request() -> None:
    sources = {"kind": "docker", "reach": "container", "timeout": "1s", "resync": "1h"}
    async with daemon() as running:
        one, two = await serve(running, "one"), await serve(running, "two")
        process = await running.cli("inspect", "-f", "{{.State.Pid}}", "two")
        asked = {**sources, "address": running.url}
        async with host(f"/svc/users => {ID}", sources=[asked]) as started:
            await started.until("users", "one\n")
            await until_serves(started, one, two, held=False, seconds=PATIENCE)
            async with load(started.agent.url, "users", callers=2) as before:
                await running.kill()
                await until_serves(started, one, two, held=True, seconds=PATIENCE)
                await eventually(lambda: before.answers.total() > 100, PATIENCE, "the load stopped")
            # Between two loads: what it was just answering is lost with whoever dies, and no proxy can help.
            killing = await asyncio.create_subprocess_exec(
                *running.inside("busybox"), "kill", "-9", process, env=running.env
            )
            assert await killing.wait() == 0
            # Until it is ejected; what the first calls meet is tested in `test_dying`.
            for _ in range(10):
                await started.call("users")
            async with load(started.agent.url, "users", callers=2) as after:
                await eventually(lambda: after.answers.total() > 20, PATIENCE, "the dead container stops the load")
                await running.start()
                await until_serves(started, one, held=False, seconds=RECOVERY_SECONDS)
                three = await serve(running, "three")
                await until_serves(started, one, three, held=False, seconds=RECOVERY_SECONDS)
                assert await after.until_answered_by("three", PATIENCE), started.agent.tail()
            await started.no_nacks()
    print(f"killed: {before.answers.total()} requests, {before.failed.total()} failed")
    print(f"one container dead, and started again: {after.answers.total()} requests, {after.failed.total()} failed")
    assert not before.failed
    assert not after.failed
    assert set(before.answers) == {"one", "two"}
    assert set(after.answers) == {"one", "three"}
