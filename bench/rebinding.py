"""How many names are bound again when one observation changes: 10,000 in use, two of which want what changed.

And how long it takes until all of them are bound by another table, and for how long others wait meanwhile.
"""

from __future__ import annotations

import asyncio
import time

from discovery.address import Addr, Bound, Endpoint, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Publish
from mesh.agent.binder import Binder, Limits
from mesh.agent.publisher import Publisher
from mesh.agent.rebinding import Rebinding
from mesh.naming.bind import Options
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.xds.server import Ads
from mesh.xds.store import Store

ROOT = Path(("#", "here"))


class Switchboard:
    """A source whose truth is set by hand."""

    def __init__(self, first: Addr) -> None:
        self._first = first
        self.publish: dict[Path, Publish] = {}

    async def observe(self, name: Path, publish: Publish) -> None:
        self.publish[name] = publish
        publish(self._first)
        await asyncio.get_running_loop().create_future()


def _binder(observatory: Observatory, publisher: Publisher) -> Binder:
    # /svc/alias and /svc/name-0 want the same observation.
    return Binder(
        dtab=parse_dtab("/svc => /#/here; /svc/alias => /#/here/name-0"),
        namers=[SourceNamer(ROOT, 1)],
        options=Options(),
        limits=Limits(names=20_000, refused=20_000),
        observatory=observatory,
        publisher=publisher,
        policies=publisher.policies,
        clock=time.monotonic,
    )


async def _change(binder: Binder, dtab: str) -> tuple[float, float]:
    """Seconds until every name is bound by this table, and for how long others had to wait for their turn at most."""
    done = asyncio.Event()
    again = Rebinding(binder, done.set)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(again.keep())
        began = last = time.perf_counter()
        longest = 0.0
        binder.dtab = parse_dtab(dtab)
        again.touched()
        while not done.is_set():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        keeping.cancel()
    return last - began, longest


async def measure(names: int) -> dict[str, float]:
    """Binds for one change of endpoints, and for one change from there to empty."""
    source = Switchboard(bound([Endpoint("127.0.0.1", 1)]))
    settings = Settings(resync=0, confirm_after=0)
    async with Observatory(
        [SourceEntry(ROOT, "here", 1, source, settings)], lambda path, state: binder.on_state(path, state)
    ) as observatory:
        binder = _binder(observatory, Publisher(Ads(Store(), report=print), observatory.state, time.monotonic, 10))
        for number in range(names):
            binder.ask(("http", f"name-{number}"), Path(("svc", f"name-{number}")))
        binder.ask(("http", "alias"), Path(("svc", "alias")))
        while any(name.clusters == frozenset() for name in binder.names):  # noqa: ASYNC110 - until all have bound
            await asyncio.sleep(0)
        spent, binds = {}, {}
        for label, addr in (("endpoint", bound([Endpoint("127.0.0.1", 2)])), ("empty", Bound())):
            before, began = binder.binds, time.perf_counter()
            source.publish[Path(("name-0",))](addr)
            spent[label], binds[label] = time.perf_counter() - began, binder.binds - before
        same, short = await _change(binder, "/svc => /#/here; /other => /#/here")
        other, wait = await _change(binder, "/svc => /#/here/name-0; /svc/name-0 => /#/here/name-0")
    return {
        "table_change_seconds_when_no_name_moves": same,
        "table_change_seconds_when_all_names_move": other,
        "table_change_longest_wait_ms": wait * 1000,
        "table_change_longest_wait_ms_when_no_name_moves": short * 1000,
        "rebinds_when_an_endpoint_changes": binds["endpoint"],
        "rebinds_when_a_name_becomes_empty": binds["empty"],
        "rebind_microseconds": spent["empty"] * 1e6,
        "names_in_use": names + 1,
    }
