"""The agent as one of a fleet: its link to the control plane, what comes over it, and what it tells of itself.

What was heard last is on disk, and in force before the control plane has answered; it may never answer.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from discovery.remote import frames
from discovery.remote.dialling import Dialling
from discovery.remote.link import Link
from discovery.remote.offers import mounted
from discovery.remote.reading import BadFrame
from mesh.agent.report import Reporter
from mesh.agent.wiring import Brain
from mesh.config.control import Control
from mesh.control.version import Content, Version

logger = logging.getLogger("tieline.fleet")

PATH = "/v1/agent"


class Fleet:
    def __init__(self, brain: Brain, control: Control, session: aiohttp.ClientSession) -> None:
        self._brain = brain
        self._control = control
        self._sources: str | None = None
        self.link = Link(
            [url + PATH for url in control.url],
            Dialling(session, token=control.token, tls=control.context, server_hostname=control.tls.server_name),
            hello=self._hello,
            on_table=self._on_table,
            on_sources=self._on_sources,
            rng=random.Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self._reporter = Reporter(brain, self.link.report, time.time())
        brain.on_change, brain.control_status = self._reporter.changed, self.status
        brain.lasting.append(self)

    def remember(self, sources: str | None) -> None:
        """As the disk has them, before there is a stream."""
        try:
            frame = None if sources is None else frames.from_control(sources)
        except BadFrame as error:
            logger.warning("the sources on disk can't be read", extra={"fields": {"error": error}})
            return
        if isinstance(frame, frames.Sources):
            self._mount(frame)

    async def keep(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run())
            tasks.create_task(self._reporter.keep())

    def status(self) -> dict[str, object]:
        """Times are seconds from then until now."""
        now, standing, in_force = time.time(), self.link.state, self._brain.in_force
        refused = in_force.refused
        return {
            "connected": standing.connected,
            "url": standing.url,
            "replica": standing.replica,
            "reason": standing.reason,
            "since_seconds": round(now - standing.since, 1),
            "namespace": self._control.namespace,
            "name": self._control.name,
            "version": in_force.applied.fleet and in_force.applied.fleet.number,
            "table_since_seconds": round(now - in_force.since, 1),
            "refused": refused and {"version": refused.fleet.number, "reason": refused.reason},
        }

    def _hello(self) -> frames.Hello:
        fleet = self._brain.in_force.table.fleet
        return frames.Hello(
            agent=self._control.name,
            namespace=self._control.namespace,
            version=importlib.metadata.version("tieline"),
            table=fleet.number if fleet else None,
            table_at=fleet.at if fleet else None,
            sources=self._sources,
        )

    def _on_table(self, table: frames.Table) -> None:
        content = None if table.dtab is None else Content(table.dtab, table.policies or "")
        said = table.namespace, table.version, table.at, table.who, table.why
        self._brain.in_force.offer(Version(*said, content))

    def _on_sources(self, sources: frames.Sources) -> None:
        self._mount(sources)
        self._brain.snapshot.sources(frames.encode(sources))

    def _mount(self, sources: frames.Sources) -> None:
        bind_timeout = self._brain.config.naming.bind_timeout
        for each in self._brain.mount(mounted(sources, self.link.source, bind_timeout)):
            text = "a source of the control plane is not asked: names of it belong to a source of this host"
            logger.info(text, extra={"fields": {"source": each.root.show()}})
        self._sources = sources.hash


@asynccontextmanager
async def joined(brain: Brain, control: Control) -> AsyncIterator[Fleet]:
    async with aiohttp.ClientSession() as session:
        yield Fleet(brain, control, session)
