"""Previews over a real observatory; and a sample of changes against a real agent with a real Envoy."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path as File

import aiohttp

from discovery.address import Endpoint, bound
from discovery.files.config import FilesConfig
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Unavailable
from mesh.agent.asking import Asking
from mesh.agent.table_version import table_version
from mesh.control.effect import Rules, Use, View
from mesh.control.preview import Preview
from mesh.control.previewing import Previewing
from mesh.naming.bind import Options
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.policy.effective import Policies
from scripts.running import eventually, service
from tests.fakes.memory import Platform
from tests.host import Host, host, rewrite
from tests.virtual_time import virtual

ROOTS = [Path(("#", "one")), Path(("#", "two"))]
VIEW = View([SourceNamer(root, 1) for root in ROOTS])
PATIENCE_SECONDS = 2.5
NAMES = [Path(("svc", name)) for name in ("users", "cart")]


@asynccontextmanager
async def previewing(one: Platform, two: Platform) -> AsyncIterator[Previewing]:
    settings = Settings(resync=0.0, confirm_after=0.0)
    entries = [SourceEntry(root, "memory", 1, each, settings) for root, each in zip(ROOTS, (one, two), strict=True)]
    async with Observatory(entries, lambda _path, _state: asking.on_state()) as observatory:
        asking = Asking(observatory, PATIENCE_SECONDS)
        yield Previewing(asking, Options())


async def preview(by: Previewing, before: str, after: str) -> Preview:
    rules = [Rules(parse_dtab(text), Policies()) for text in (before, after)]
    return await by.preview([Use("http", path, {VIEW: 1.0}) for path in NAMES], rules[0], rules[1])


@virtual
async def test_what_the_new_table_asks_for_is_observed_for_the_preview_and_released_after() -> None:
    one, two = Platform(), Platform()
    for platform, port in ((one, 1), (two, 2)):
        platform.truth = {Path((name,)): bound([Endpoint("10.0.0.1", port)]) for name in ("users", "cart", "new")}
    async with previewing(one, two) as by:
        found = await preview(by, "/svc => /#/one", "/svc => /#/one/absent | /#/two/new")
        assert [(each.before.tree, each.after.tree) for each in found.effects] == [
            (f"/#/one/{name}", f"/#/two/new (residual /{name})") for name in ("cart", "users")
        ]
        assert not found.unknown
        # Nothing is wanted by the previews any more: all of it lingers.
        observed = {path.show() for path, _, _ in by.asking.observatory.known()}
        assert observed == {"/#/one/users", "/#/one/cart", "/#/one/absent", "/#/two/new"}
        await asyncio.sleep(60)
        assert not list(by.asking.observatory.known())


@virtual
async def test_a_source_that_does_not_answer_costs_the_patience_once_and_counts_as_missing() -> None:
    one, two = Platform(), Platform()
    one.truth = {Path((name,)): bound([Endpoint("10.0.0.1", 1)]) for name in ("users", "cart")}
    two.fail(Unavailable("it is dark"))
    async with previewing(one, two) as by:
        began = asyncio.get_running_loop().time()
        found = await preview(by, "/svc => /#/one", "/svc => /#/two")
        assert asyncio.get_running_loop().time() - began < PATIENCE_SECONDS + 1
        assert {each.after.outcome for each in found.effects} == {"neg"}
        assert all(each.note and "has not answered" in each.note for each in found.effects)


@virtual
async def test_an_answer_that_comes_after_the_patience_is_unknown_until_then() -> None:
    one, two = Platform(), Platform()
    one.truth = {Path((name,)): bound([Endpoint("10.0.0.1", 1)]) for name in ("users", "cart")}
    two.silent = True
    settings = Settings(resync=0.0, bind_timeout=1e6)
    entries = [SourceEntry(root, "memory", 1, each, settings) for root, each in zip(ROOTS, (one, two), strict=True)]
    async with Observatory(entries, lambda _path, _state: asking.on_state()) as observatory:
        asking = Asking(observatory, PATIENCE_SECONDS)
        found = await preview(
            Previewing(asking, Options()), "/svc => /#/one", "/svc => /#/two; /svc/cart => /#/one/cart"
        )
        assert [(each.use.path.show(), each.reason) for each in found.unknown] == [
            ("/svc/users", "/#/two/users: it has not answered yet")
        ]


@virtual
async def test_one_name_that_is_not_affected_needs_no_answer() -> None:
    """Nobody observes what it leads to, and the preview asks for nothing."""
    async with previewing(Platform(), Platform()) as by:
        found = await preview(by, "/svc => /#/one", "/svc => /#/one; /other => /#/two")
        assert (found.effects, found.unknown) == ([], [])
        assert not list(by.asking.observatory.known())


SERVICES = ("left", "right", "spare")
TABLES = (
    "/svc => /#/files",
    "/svc => /#/files; /svc/users => /#/files/right",
    "/svc => /#/files | /#/files/left; /svc/cart => /#/files/spare | /#/files/left",
    "/svc => /#/files/left & /#/files/gone",
    "/svc/users => !; /svc/cart => /#/files/left",
    "/svc => ~ | /#/files/empty | /#/files/right",
    "/svc => /#/files/empty",
    "/svc/* => /#/files/left; /svc/cart => /#/files/gone | /host/cart; /host => /#/files",
    "/svc => 1 * /#/files/left & 0 * /#/files/right",
    "/svc => /$/nil; /svc/users => /$/io.buoyant.http.anyHostPfx/host/users; /host => /#/files/spare",
)


async def test_a_real_proxy_answers_from_where_the_preview_said() -> None:
    """Ten changes, one after the other: each previewed over the same files, then made in an agent."""
    order = random.Random(3).sample(TABLES, len(TABLES))
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(service(name)) for name in SERVICES}
        real = await stack.enter_async_context(host(order[-1]))
        for name in (*SERVICES, "users", "cart"):
            real.put(name, ports.get(name, ports["left"]))
        real.put("empty", lines="")
        by = await stack.enter_async_context(_previewing_files(real.disco))
        view = View([SourceNamer(Path(("#", "files")), 1)])
        expected = {path: await _answer(real, path) for path in NAMES}
        for before, after in pairwise([order[-1], *order]):
            rules = [Rules(parse_dtab(text), Policies()) for text in (before, after)]
            found = await by.preview([Use("http", path, {view: 1.0}) for path in NAMES], rules[0], rules[1])
            assert not found.unknown
            for effect in found.effects:
                to = {each.port for each in effect.after.endpoints}
                expected[effect.use.path] = next((name for name in SERVICES if {ports[name]} == to), "")
            await _changed(real, after, expected)
        await real.no_nacks()


@asynccontextmanager
async def _previewing_files(folder: File) -> AsyncIterator[Previewing]:
    settings = Settings(resync=0.0)
    async with FilesConfig(folder=folder).open() as files:
        entry = SourceEntry(Path(("#", "files")), "files", 1, files, settings)
        async with Observatory([entry], lambda _path, _state: asking.on_state()) as observatory:
            asking = Asking(observatory, PATIENCE_SECONDS)
            yield Previewing(asking, Options())


async def _answer(real: Host, path: Path) -> str:
    """Which service answers; none is an error of the proxy's own."""
    answer = await real.call(path[-1])
    return answer.body if answer.status == 200 else ""


async def _changed(real: Host, table: str, expected: Mapping[Path, str]) -> None:
    rewrite(real.agent.config, dtab=table)
    real.agent.process.send_signal(signal.SIGHUP)
    version = table_version(parse_dtab(table), ())

    async def in_force() -> bool:
        try:
            return (await real.json("/status"))["table"] == version
        except aiohttp.ClientError:
            return False  # The old brain has ended, and the new one does not listen yet.

    await eventually(in_force, 15, f"the table is not in force\n{real.agent.tail()}")
    for path, said in expected.items():

        async def answered(path: Path = path, said: str = said) -> bool:
            return await _answer(real, path) == said

        await eventually(answered, 15, f"{path} is not answered by {said!r} under {table}\n{real.agent.tail()}")
