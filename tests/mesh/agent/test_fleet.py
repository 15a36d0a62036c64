"""An agent and its control plane: the stream's real ends, a real brain and a real Envoy."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File

from aiohttp import web

from demo.calls import load
from discovery.address import Known
from discovery.observatory import SourceEntry
from discovery.path import Path
from discovery.remote.frames import Hello
from mesh.agent.facts import BrainFacts
from scripts.running import eventually, folder, service
from tests.binding import SETTINGS, at
from tests.certificates import Authority
from tests.fakes.memory import Platform
from tests.host import PATIENCE
from tests.in_process import InProcess, in_process
from tests.mesh.agent.test_in_force import answer, until
from tests.mesh.control.ends import Control, Kept, Wire, control

MEM = Path(("#", "mem"))


def entry(platform: Platform, root: Path = MEM) -> SourceEntry:
    return SourceEntry(root, "memory", 1, platform, SETTINGS)


def base(url: str) -> str:
    return url.removesuffix("/v1/agent")


@asynccontextmanager
async def fleet(
    platform: Platform, dtab: str, own: str = "", *, place: File | None = None, **more: object
) -> AsyncIterator[tuple[Control, InProcess]]:
    tables = Kept()
    tables.put(dtab)
    async with control([entry(platform)], tables=tables) as it:
        section = {"url": base(it.url), "name": "host7"}
        async with in_process(own, place, control=section, **more) as agent:
            while agent.brain.in_force.applied.fleet is None:
                await agent.heard.wait()
                agent.heard.clear()
            yield it, agent


async def test_a_table_that_comes_is_in_force_and_what_it_leads_to_is_served() -> None:
    platform = Platform()
    async with service("one") as one, service("two") as two:
        platform.truth = {Path(("users",)): at(one), Path(("orders",)): at(two)}
        async with fleet(platform, "/svc => /#/mem") as (it, agent):
            assert await answer(agent, "users") == (200, "one")
            # An observation changes, a name goes, a table changes.
            platform.state(Path(("users",)), at(two))
            await until(agent, "users", "two")
            it.tables.put("/svc/users => /#/mem/orders")
            await until(agent, "users", "two")
            assert (await answer(agent, "orders"))[0] == 404
            it.tables.put(None)

            async def gone() -> bool:
                return (await answer(agent, "users"))[0] == 404

            await eventually(gone, PATIENCE, "a deleted namespace leads somewhere", 0)


async def test_status_metrics_and_explain_tell_of_the_control_plane() -> None:
    platform = Platform()
    async with service("one") as one:
        platform.truth = {Path(("users",)): at(one)}
        async with fleet(platform, "/svc => /#/mem") as (it, agent):
            await until(agent, "users", "one")
            facts = BrainFacts(agent.brain)
            said = (await facts.status())["control"]
            assert isinstance(said, dict)
            assert {key: value for key, value in said.items() if not key.endswith("_seconds")} == {
                "connected": True,
                "url": it.url,
                "replica": "control-1",
                "reason": None,
                "namespace": "default",
                "name": "host7",
                "version": 1,
                "refused": None,
            }
            explained = await facts.explain("users", None, None)
            endpoints = explained["endpoints"]
            assert isinstance(endpoints, dict)
            shown = endpoints["/#/mem/users"]
            assert shown["source"]["through"] == "control plane"
            assert shown["held"] is None
            it.tables.put("/svc =>")
            await eventually(lambda: agent.brain.in_force.refused, PATIENCE, "the table is not refused")
            metrics = await facts.metrics()
            assert "tieline_control_up 1.0" in metrics
            assert "tieline_table_version 1.0" in metrics
            assert "tieline_table_refused 1.0" in metrics


async def test_the_control_plane_hears_what_is_in_force_and_refused_here() -> None:
    platform = Platform()
    async with fleet(platform, "/svc => /#/mem") as (it, agent):

        def reported(key: str) -> object:
            return next((each[key] for each in reversed(it.heard.of("reported")) if key in each), None)  # type: ignore[operator,index]  # JSON

        await it.bell.until(lambda: reported("table") == 1)
        it.tables.put("/svc =>")
        await it.bell.until(lambda: reported("table_refused"))
        assert re.match(r"dtab, line 1, column 8: ", reported("table_refused")["reason"])  # type: ignore[index]  # JSON
        it.tables.put("/svc => /#/mem ; /a => /b")
        await it.bell.until(lambda: reported("table") == 3)
        assert reported("table_refused") is None
        assert agent.brain.in_force.refused is None


async def test_a_control_plane_that_goes_and_comes_costs_no_request() -> None:
    platform, tables = Platform(), Kept()
    tables.put("/svc => /#/mem")
    async with service("one") as one, service("two") as two:
        platform.truth = {Path(("users",)): at(one)}
        async with control([entry(platform)], tables=tables) as first:
            wire = Wire(first.port)
            async with wire.laid() as url, in_process(control={"url": base(url)}) as agent:
                await until(agent, "users", "one")
                async with load(agent.url, "users") as seen:
                    for turn in range(3):
                        wire.cut()
                        await eventually(lambda: _held(agent), PATIENCE, "what is known is not held")
                        to = (two, one)[turn % 2]
                        platform.state(Path(("users",)), at(to))
                        wire.mend()
                        await until(agent, "users", ("two", "one")[turn % 2])
                        await eventually(lambda: not _held(agent), PATIENCE, "what is known is held still")
                assert not seen.failed


def _held(agent: InProcess) -> bool:
    state = agent.brain.observatory.state(MEM.then(("users",)))
    return isinstance(state, Known) and state.held is not None


async def test_sources_of_the_agent_and_of_the_fleet_meet_in_one_table() -> None:
    platform = Platform()
    async with service("here") as here, service("there") as there, service("own") as own:
        platform.truth = {Path(("users",)): at(there), Path(("orders",)): at(there), Path(("mine",)): at(there)}
        dtab = "/svc => /#/mem ; /svc/users => 1 * /#/files/users & 1 * /#/mem/users ; /svc/mine => /#/mem/mine"
        async with fleet(platform, dtab, "/svc/mine => /#/files/mine") as (_, agent):
            agent.put("users", here)
            agent.put("mine", own)
            assert await answer(agent, "orders") == (200, "there")
            assert await answer(agent, "mine") == (200, "own")
            async with asyncio.timeout(PATIENCE):
                seen = set[str]()
                while seen != {"here", "there"}:
                    seen.add((await answer(agent, "users"))[1])


async def test_a_source_of_the_agent_goes_before_the_fleets_of_the_same_prefix() -> None:
    platform = Platform()
    async with service("here") as here, service("there") as there:
        platform.truth = {Path(("users",)): at(there)}
        tables = Kept()
        tables.put("/svc => /#/files")
        entries = [entry(platform, Path(("#", "files"))), entry(platform)]
        async with control(entries, tables=tables) as it, in_process(control={"url": base(it.url)}) as agent:
            agent.put("users", here)
            await until(agent, "users", "here")
            assert not platform.asked
            tables.put("/svc => /#/mem")
            await until(agent, "users", "there")


async def test_the_agent_and_its_control_plane_know_each_other_by_certificates_and_a_token(tmp_path: File) -> None:
    authority, asked = Authority(), list[str | None]()
    (tmp_path / "ca.pem").write_bytes(authority.signed.pem)
    (tmp_path / "token").write_text("s3cret\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.load_cert_chain(*authority.server("control.example").write(tmp_path, "server"))
    context.verify_mode = ssl.CERT_REQUIRED

    def admits(request: web.Request, _hello: Hello) -> str | None:
        asked.append(request.headers.get("authorization"))
        return None

    tls = {"ca": "ca.pem", "cert": "agent.pem", "key": "agent.key", "server_name": "control.example"}
    tables = Kept()
    tables.put("/svc => /#/mem")
    with folder() as place:
        shutil.copytree(tmp_path, place, dirs_exist_ok=True)
        async with control([entry(Platform())], tables=tables, admits=admits, tls=context) as it:
            section = {"url": base(it.url), "token_file": "token", "tls": tls}
            async with in_process(place=place, control=section) as agent:
                # Its certificate is not there yet.
                await eventually(lambda: "agent.pem" in str(_control(agent)["reason"]), PATIENCE, "no reason is told")
                authority.server("agent").write(place, "agent")
                await eventually(lambda: _control(agent)["connected"], PATIENCE, "it does not connect")
                assert asked == ["Bearer s3cret"]
                assert "s3cret" not in str(_control(agent))


def _control(agent: InProcess) -> dict[str, object]:
    status = agent.brain.control_status()
    assert status is not None
    return status


async def test_an_agent_that_begins_while_its_control_plane_is_away_serves_what_it_knew() -> None:
    platform = Platform()
    with folder() as place:
        async with service("one") as one:
            platform.truth = {Path(("users",)): at(one)}
            async with fleet(platform, "/svc => /#/mem", place=place) as (_, agent):
                await until(agent, "users", "one")
                await eventually(lambda: agent.brain.snapshot.status()["written_at"], PATIENCE, "nothing is written")
            async with in_process(place=place, control={"url": "http://127.0.0.1:1"}) as agent:
                assert await answer(agent, "users") == (200, "one")
                facts = BrainFacts(agent.brain)
                status = await facts.status()
                said = status["control"]
                assert isinstance(said, dict)
                assert (said["connected"], said["version"]) == (False, 1)
                assert said["reason"]
                names = facts.names()["names"]
                assert isinstance(names, list)
                assert "restored from disk" in names[0]["held"][0]
