"""Several replicas over one store, each with agents of its own: a change is judged by what all of them use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.ports import free_port
from scripts.running import eventually, folder
from tests.control import PATIENCE, SECRET, Served, control, token

OLD, NEW = "/svc => /#/files", "/svc => /#/files ; /svc/users => /#/files/other"


def secret(place: Path, text: str) -> str:
    (place / "token").write_text(text + "\n")
    return str(place / "token")


@asynccontextmanager
async def replicas(*others: str, text: str = token("reader")) -> AsyncIterator[tuple[Served, Served]]:
    """Both have one and the same list of replicas: themselves, and `others`."""
    async with AsyncExitStack() as stack:
        place = stack.enter_context(folder())
        ports = free_port(), free_port()
        known = {
            "url": [*(f"http://127.0.0.1:{port}" for port in ports), *others],
            "token_file": secret(place, text),
        }
        store = {"kind": "sqlite", "file": str(place / "store.sqlite")}
        one, two = [
            await stack.enter_async_context(control(listen={"port": port}, store=store, replicas=known, allow="none"))
            for port in ports
        ]
        for each in (one, two):
            for name, at in (("users", 1001), ("other", 1002), ("cart", 1003)):
                each.name(name, at)
        yield one, two


async def previewed(served: Served, dtab: str = NEW) -> dict[str, Any]:
    said = await served.ask("POST", "/v1/namespaces/default/preview", by="reader", json={"dtab": dtab})
    assert said.status == 200, said.body
    preview: dict[str, Any] = said.json
    return preview


async def test_a_preview_knows_the_names_of_the_agents_of_all_replicas() -> None:
    async with replicas() as (one, two), one.agent("host1") as first, two.agent("host2") as second:
        await one.put(OLD)
        await one.in_use(first, "/svc/cart", rate=30.0)
        await two.in_use(second, "/svc/users", rate=10.0)
        seen = await previewed(one)
        assert (seen["names"], seen["moved_share"], seen["refused"], seen["silent"]) == (2, 0.25, True, {})
        assert [(each["name"], each["rate"], each["agents"]) for each in seen["changed"]] == [("/svc/users", 10.0, [])]
        said = await one.ask("PUT", "/v1/namespaces/default", json={"dtab": NEW})
        assert (said.status, said.error.split(",")[0]) == (409, "this would move 25 % of the requests")
        lint = await one.ask("POST", "/v1/namespaces/default/lint", json={"dtab": "/svc/cart => /#/files/cart"})
        (lost,) = [each["message"] for each in lint.json["problems"] if each["code"] == "TL006"]
        assert "/svc/users" in lost


async def test_a_long_answer_of_a_replica_is_read_to_its_end() -> None:
    async with replicas() as (one, two), two.agent("host2") as agent:
        await one.put(OLD)
        await two.in_use(agent, *(f"/svc/{number}-of-a-long-list-of-names" for number in range(5_000)))
        seen = await previewed(one)
        assert (seen["names"], seen["silent"]) == (5_000, {})


async def test_an_agent_of_another_replica_has_the_table_of_its_own_there_too() -> None:
    async with replicas() as (one, two), two.agent("host2") as agent:
        await one.put(OLD)
        await two.in_use(agent, "/svc/users")
        await agent.send_json({"type": "status", "dtab": "/svc/users => /#/files/cart"})

        async def heard() -> bool:
            return "dtab" in (await two.get("/v1/agents/host2")).json

        await eventually(heard, PATIENCE, "the report was not heard")
        seen = await previewed(one)
        assert (seen["names"], seen["changed"]) == (1, [])


async def test_a_replica_that_does_not_answer_is_told_and_its_share_counts_as_unknown() -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    async with replicas(gone) as (one, _):
        await one.put(OLD)
        seen = await previewed(one)
        assert list(seen["silent"]) == [gone]
        assert "Connect" in seen["silent"][gone]
        assert seen["refused"] is True
        said = await one.ask("PUT", "/v1/namespaces/default", json={"dtab": NEW})
        assert said.status == 409
        assert said.error.startswith(f"what agents of the replica {gone} use is not known (")
        await one.put(NEW)


async def test_one_that_says_nothing_is_not_waited_for_long_and_one_that_says_nonsense_is_told() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]")
        writer.close()

    async with AsyncExitStack() as stack:
        urls = []
        for each in (silent, nonsense):
            server = await stack.enter_async_context(await asyncio.start_server(each, "127.0.0.1", 0))
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        one, _ = await stack.enter_async_context(replicas(*urls))
        seen = await previewed(one)
        assert seen["silent"] == {urls[0]: "no answer within 2 s", urls[1]: "its answer: an object expected"}


@pytest.mark.parametrize(
    ("text", "why"),
    [("wrong" + SECRET, "it refuses our token"), (token("host7"), "our token may not read there")],
)
async def test_a_token_that_is_refused_is_told_and_is_not_shown(text: str, why: str) -> None:
    async with replicas(text=text) as (one, _):
        seen = await previewed(one)
        assert set(seen["silent"].values()) == {why}
        assert SECRET not in str(seen)


async def test_a_token_that_is_not_there_is_told() -> None:
    async with replicas() as (one, _):
        known = one.control.judging.gathering.replicas
        assert known is not None
        assert known.token_file is not None
        known.token_file.unlink()
        seen = await previewed(one)
        assert all("No such file" in each for each in seen["silent"].values())
        assert len(seen["silent"]) == 2
