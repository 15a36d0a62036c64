"""The brain's life: opens the sources, wires the parts, serves Envoy and the admin API, and ends all of it together.

Order matters twice. What the disk remembers is bound before Envoy is answered, so that a restarted brain withdraws
nothing; Envoy may connect before that, and waits, because one that finds nobody tries again late. And the admin API is
opened last, when every answer can be given.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path as File
from typing import Any

import grpc.aio
import uvloop

from mesh.admin.server import serving
from mesh.agent import collector, envoy_admin, sni_resolver
from mesh.agent import resolver as resolving
from mesh.agent.adoption import scopes, streams
from mesh.agent.brain_process import END_SECONDS, GO, GO_VARIABLE, HEARTBEAT_SECONDS, PIPE_VARIABLE
from mesh.agent.entries import inet, opened
from mesh.agent.facts import BrainFacts
from mesh.agent.fleet import joined
from mesh.agent.log import configure
from mesh.agent.snapshot import Snapshot
from mesh.agent.table import Own
from mesh.agent.wiring import NOBODY, Brain
from mesh.config.load import load
from mesh.config.model import Config
from mesh.config.problem import ConfigError
from mesh.config.routers import Router
from mesh.envoy.names import scope_resource
from mesh.xds.resource import LISTENER, SCOPE
from mesh.xds.server import SERVER_OPTIONS, listen

logger = logging.getLogger("tieline.brain")

CONNECT_PAUSE_SECONDS = 0.01
LOAD_SECONDS = 5.0
"""For a disk to say what it holds. An Envoy that runs has it too, and keeps it until the sources have answered."""
THIS_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on


async def run(config: Config, folder: File, pipe: int | None) -> None:
    """`folder`: that of the configuration's file."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _end, stop)
    async with wired(config, folder) as brain:
        collector.at_leisure()
        await serve(brain, pipe, stop)


def _end(stop: asyncio.Event) -> None:
    """Also with a disk that hangs, and nobody there who would kill us: the kernel does."""
    signal.setitimer(signal.ITIMER_REAL, END_SECONDS)
    stop.set()


@asynccontextmanager
async def wired(config: Config, folder: File) -> AsyncIterator[Brain]:
    """What the disk remembers is bound, and Envoy is answered."""
    snapshot = Snapshot(config.state_dir / "snapshot.sqlite")
    restored = await snapshot.load_within(LOAD_SECONDS, time.time())
    async with AsyncExitStack() as stack:
        entries = [await opened(stack, each, config.naming.bind_timeout) for each in config.sources]
        entries += inet(config.naming.bind_timeout)
        brain = Brain(config, entries, restored, snapshot, Own.of(config, folder))
        await stack.enter_async_context(brain.observatory)
        answers = await stack.enter_async_context(_serving_envoy(brain))
        if config.control is not None:
            fleet = await stack.enter_async_context(joined(brain, config.control))
            fleet.remember(restored.fleet.sources)
        brain.publish_listeners()
        brain.adopt(await scopes(brain.envoy_admin), await streams(brain.envoy_admin))
        brain.restore(restored.names)
        answers.set()
        logger.info("the brain runs", extra={"fields": {"names_restored": len(restored.names)}})
        yield brain


async def serve(brain: Brain, pipe: int | None, stop: asyncio.Event) -> None:
    admin = brain.config.admin
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        keeping = [tasks.create_task(each.keep()) for each in brain.lasting]
        facts = BrainFacts(brain)
        await stack.enter_async_context(serving(facts, brain.config.admin_socket, admin.address, admin.port))
        keeping.append(tasks.create_task(_become_ready(brain, pipe)))
        if pipe is not None:
            keeping.append(tasks.create_task(_beat(pipe)))
        await stop.wait()
        for task in keeping:
            task.cancel()


class _Waiting(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Whoever asks is answered once `answers` is set."""

    def __init__(self, answers: asyncio.Event) -> None:
        self._answers = answers

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        await self._answers.wait()
        return await continuation(details)


@asynccontextmanager
async def _serving_envoy(brain: Brain) -> AsyncIterator[asyncio.Event]:
    """It may connect; it is answered when the event is set."""
    answers = asyncio.Event()
    socket = brain.config.run_dir / "xds.sock"
    socket.unlink(missing_ok=True)
    server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=[_Waiting(answers)])
    brain.ads.add_to(server)
    server.add_generic_rpc_handlers((resolving.handler(brain.resolver), sni_resolver.handler(brain.sni_resolver)))
    listen(server, socket)
    await server.start()
    try:
        yield answers
    finally:
        await server.stop(grace=0)
        socket.unlink(missing_ok=True)


async def _beat(pipe: int) -> None:
    """A brain that hangs says nothing, and the supervisor starts another."""
    while True:
        os.write(pipe, b"alive\n")
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _become_ready(brain: Brain, pipe: int | None) -> None:
    """Ready: an Envoy has acknowledged its configuration and takes connections on every router's port."""
    for router in brain.config.routers:
        if await brain.ads.applied(LISTENER, router.name) is not None:
            logger.error(
                "a router can't be served; free its port or change it, then reload",
                extra={"fields": {"router": router.name}},
            )
            return
        if router.protocol == "http":
            await brain.ads.applied(SCOPE, scope_resource(router.name, NOBODY))
        while not await _listens(brain, router):  # noqa: ASYNC110 - another process's port
            await asyncio.sleep(CONNECT_PAUSE_SECONDS)
    brain.ready = True
    logger.info("ready")
    if pipe is not None:
        os.write(pipe, b"ready\n")


async def _listens(brain: Brain, router: Router) -> bool:
    """A connection that is made to a TCP router's port is made to the service, too; so Envoy is asked."""
    if router.protocol == "http":
        return await _takes_connections(router.address, router.port)
    try:
        return router.name in await envoy_admin.listeners(brain.envoy_admin)
    except (OSError, TimeoutError, ValueError, EOFError):
        return False


async def _takes_connections(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(THIS_HOST.get(address, address), port)
    except OSError:
        return False
    writer.close()
    return True


def _told_to_go() -> bool:
    """Waits for the supervisor's word; without one who would give it, there is nothing to wait for."""
    waiting = os.environ.pop(GO_VARIABLE, None)
    if waiting is None:
        return True
    word = os.read(int(waiting), len(GO))
    os.close(int(waiting))
    return word == GO


def main(config_file: str) -> None:
    if not _told_to_go():
        return
    try:
        file = File(config_file)
        config = load(file)
    except ConfigError as error:
        sys.exit(str(error))
    configure(config.log.level, config.log.format)
    with _alone(config.run_dir):
        _serve(config, file.parent)


@contextmanager
def _alone(run_dir: File) -> Iterator[None]:
    """One whose supervisor was killed may be at its end still, and takes its sockets with it."""
    with (run_dir / "brain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _serve(config: Config, folder: File) -> None:
    pipe = os.environ.get(PIPE_VARIABLE)
    uvloop.run(run(config, folder, int(pipe) if pipe else None))
