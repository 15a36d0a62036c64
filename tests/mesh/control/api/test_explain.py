from __future__ import annotations

import time
from urllib.parse import quote

from tests.control import control

ONE = "/v1/namespaces/default/explain"


async def test_a_name_is_explained_as_it_is_bound_now() -> None:
    async with control() as served:
        served.name("users", 1001)
        await served.put("/svc => /#/files/none | /#/files")
        said = (await served.get(f"{ONE}?name=users", by="reader")).json
        assert (said["path"], said["outcome"], said["table"]) == ("/svc/users", "bound", 1)
        [endpoint] = said["endpoints"]["/#/files/users"]["endpoints"]
        assert (endpoint["address"], endpoint["port"]) == ("127.0.0.1", 1001)
        local = (await served.get(f"{ONE}?name=/svc/users&dtab={quote('/svc => ~')}")).json
        assert local["outcome"] == "bound", "~ falls through to the table"
        assert (await served.get(f"{ONE}?name=/svc/users&dtab={quote('/svc => !')}")).json["outcome"] == "fail"


async def test_a_name_is_explained_as_it_was() -> None:
    async with control() as served:
        served.name("users", 1001)
        await served.put("/svc => /#/files")
        assert (await served.get(f"{ONE}?name=users")).json["outcome"] == "bound"
        moment = time.time()
        await served.put("/svc => !")
        assert (await served.get(f"{ONE}?name=users")).json["outcome"] == "fail"
        assert (await served.get(f"{ONE}?name=users&at={moment}")).json["outcome"] == "bound"
        early = (await served.get(f"{ONE}?name=users&at=2020-01-01T00:00:00Z")).json
        assert early["outcome"] == "unknown"
        assert "the journal begins" in early["reason"]


async def test_an_agent_that_nobody_knows_is_404() -> None:
    async with control() as served:
        said = await served.get(f"{ONE}?name=users&agent=host9")
        assert said.status == 404
        assert "no agent 'host9'" in said.error
        async with served.agent("host9"):
            assert (await served.get(f"{ONE}?name=users&agent=host9")).json["agent"]["agent"] == "host9"


async def test_a_name_that_is_no_name_is_400() -> None:
    async with control() as served:
        for name in ("a%20b", "/a//b", "/%2a", "%00"):
            assert (await served.get(f"{ONE}?name={name}")).status == 400, name


async def test_a_journal_that_can_not_be_read_is_said_and_no_bug() -> None:
    async with control() as served:
        await served.put("/svc => !")
        moment = time.time()
        assert (await served.get(f"{ONE}?name=users&at={moment}")).json["outcome"] == "fail"
        for file in (served.folder / "state").glob("journal.sqlite*"):
            file.unlink()
        (served.folder / "state" / "journal.sqlite").write_bytes(b"nonsense" * 1000)
        said = await served.get(f"{ONE}?name=users&at={moment}")
        assert (said.status, said.json["outcome"]) == (200, "unknown")
        assert "not known" in said.json["reason"]
        assert (await served.get(f"{ONE}?name=users")).json["outcome"] == "fail"
