"""Agents over their real stream: who may open it, and what the API tells of them."""

from __future__ import annotations

import aiohttp
import pytest

from scripts.running import eventually
from tests.control import PATIENCE, Served, control, token

HELLO = {"type": "hello", "protocol": 1, "agent": "host8", "version": "0.1.0", "table": None, "sources": None}


async def test_agents_are_told_with_their_last_report() -> None:
    async with control() as served:
        assert (await served.get("/v1/agents")).json == {"agents": []}
        async with served.agent("host7") as agent:
            await served.in_use(agent, "/svc/users", rate=12.5)
            row = (await served.get("/v1/agents/host7")).json
            assert (row["agent"], row["connected"], row["ready"], row["address"]) == ("host7", True, True, "127.0.0.1")
            assert row["replica"] == served.control.replica
            assert (await served.get("/v1/agents")).json == {"agents": [row]}
            names = (await served.get("/v1/namespaces/default/names")).json
            [name] = names["names"]
            assert (name["name"], name["rate"], name["agents"]) == ("/svc/users", 12.5, ["host7"])
            assert (await served.get("/v1/namespaces/other/names")).json["names"] == []
            assert (await served.get("/v1/namespaces/default/names?only=/svc/x,/svc/users")).json == names
            assert (await served.get("/v1/namespaces/default/names?only=/svc/x,/svc/y")).json["names"] == []
            assert "tieline_control_agents 1.0" in (await served.get("/metrics")).body.decode()

        async def gone() -> bool:
            return (await served.get("/v1/agents/host7")).json["connected"] is False

        await eventually(gone, PATIENCE, "the agent is still there")
        assert (await served.get("/v1/agents/none")).error.startswith("no agent 'none' has connected here")


async def test_an_agent_hears_of_tables_and_names() -> None:
    async with control() as served:
        served.name("users", 1001)
        await served.put("/svc => /#/files")
        async with served.agent() as agent:
            frames = [await agent.receive_json() for _ in range(2)]
            assert {each["type"] for each in frames} == {"table", "sources"}
            await agent.send_json({"type": "want", "names": {"/#/files/users": None}})
            observed = await agent.receive_json()
            while observed["type"] != "observation" or "pending" in observed["state"]:
                observed = await agent.receive_json()
            assert observed["name"] == "/#/files/users"
            await served.put("/svc => ~")
            table = await agent.receive_json()
            assert (table["type"], table["version"], table["dtab"]) == ("table", 2, "/svc => ~")


@pytest.mark.parametrize(("who", "namespace", "said"), [("host7", "any", "welcome"), ("host8", "other", "welcome")])
async def test_an_agent_may_have_its_namespaces(who: str, namespace: str, said: str) -> None:
    async with control(allow="none") as served:
        assert (await greeted(served, who, namespace))["type"] == said


async def test_an_agent_is_refused_another_namespace_with_the_reason() -> None:
    async with control(allow="none") as served:
        answer = await greeted(served, "host8", "default")
        assert answer["type"] == "refused"
        assert "host8 may not have the namespace 'default'" in str(answer["reason"])
        assert (await served.get("/v1/agents")).json == {"agents": []}


async def greeted(served: Served, who: str, namespace: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token(who)}"}
    async with served.session.ws_connect("/v1/agent", headers=headers) as stream:
        await stream.send_json({**HELLO, "namespace": namespace})
        answer: dict[str, object] = await stream.receive_json()
        return answer


@pytest.mark.parametrize("who", ["reader", "writer", None])
async def test_who_is_no_agent_can_not_open_the_stream(who: str | None) -> None:
    headers = {"Authorization": f"Bearer {token(who)}"} if who else {}
    async with control() as served:
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await served.session.ws_connect("/v1/agent", headers=headers)
        assert error.value.status == (403 if who else 401)


async def test_whoever_opens_the_socket_may_be_an_agent() -> None:
    async with control(allow="none") as served, served.socket.ws_connect("/v1/agent") as stream:
        await stream.send_json({**HELLO, "namespace": "default"})
        assert (await stream.receive_json())["type"] == "welcome"
