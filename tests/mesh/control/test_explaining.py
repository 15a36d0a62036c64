"""Explain at the control plane: over a real observatory, the agents' reports and the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as File

import pytest

from discovery.address import Addr, Endpoint, Neg, State, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from mesh.agent.asking import Asking
from mesh.control.explaining import Explaining, UnknownAgent
from mesh.control.journal import Journal
from mesh.control.seen import Seen
from mesh.control.store.protocol import Unavailable
from mesh.control.version import Content, Version
from mesh.naming.bind import Options
from mesh.naming.dtab import Dtab, parse_dtab
from mesh.naming.namers import SourceNamer
from tests.fakes.memory import Platform

ROOT = Path(("#", "one"))
USERS, CART = Path(("users",)), Path(("cart",))
BEGAN = 1_000_000.0
OWN = [{"prefix": "/#/docker", "segments": 2, "fewest": 2, "longest": False}]


def at(*last: int) -> Addr:
    return bound(Endpoint(f"10.0.0.{each}", 80) for each in last)


def version(number: int, dtab: str, policies: str = "") -> Version:
    return Version("default", number, BEGAN, "ann", "", Content(dtab, policies))


@dataclass
class Tables:
    """The last version of `kept` is in force."""

    kept: list[Version] = field(default_factory=list)
    is_away: bool = False

    def get(self, namespace: str) -> Version | None:
        return self.kept[-1] if self.kept and namespace == "default" else None

    async def version(self, namespace: str, number: int) -> Version | None:
        if self.is_away:
            raise Unavailable("the store can't be asked: it is away")
        return next((each for each in self.kept if (each.namespace, each.number) == (namespace, number)), None)


@dataclass
class Control:
    platform: Platform
    observatory: Observatory
    tables: Tables
    seen: Seen
    journal: Journal
    explaining: Explaining
    time: float = BEGAN

    async def explain(
        self, name: str, *, agent: str | None = None, at: float | None = None, local: Dtab | None = None
    ) -> dict[str, object]:
        return await self.explaining.explain("default", name, router=None, agent=agent, at=at, local=local)

    def puts(self, made: Version) -> None:
        self.tables.kept.append(made)
        self.journal.versioned(made)

    async def after(self, seconds: float) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        assert await self.journal.flush()
        self.time += seconds


@asynccontextmanager
async def control(file: File, dtab: str, policies: str = "") -> AsyncIterator[Control]:
    platform = Platform()
    platform.truth = {USERS: at(1, 2), CART: at(3)}

    def on_state(path: Path, state: State) -> None:
        asking.on_state()
        it.journal.observed(path, state)

    entry = SourceEntry(ROOT, "memory", 1, platform, Settings(resync=0.0, confirm_after=0.0, damping=0.0))
    async with Observatory([entry], on_state) as observatory, asyncio.TaskGroup() as tasks:
        asking, tables, seen = Asking(observatory, 2.5), Tables(), Seen(lambda: it.time)
        journal = Journal(
            file, lambda: ((path, state) for path, state, _ in observatory.known()), clock=lambda: it.time
        )
        explaining = Explaining(asking, tables, tables, seen, journal, [SourceNamer(ROOT, 1)], Options())
        it = Control(platform, observatory, tables, seen, journal, explaining)
        keeping = tasks.create_task(journal.keep())
        try:
            it.puts(version(1, dtab, policies))
            yield it
        finally:
            keeping.cancel()


async def test_a_name_is_explained_by_the_table_in_force_as_an_agent_would(tmp_path: File) -> None:
    policies = "- match: /svc/users\n  timeout: {request: 3s}\n  mirror: [{to: /svc/cart, percent: 5}]"
    async with control(tmp_path / "journal.sqlite", "/svc => /#/gone | /#/one", policies) as it:
        answer = await it.explain("users")
        assert (answer["path"], answer["outcome"], answer["table"]) == ("/svc/users", "bound", 1)
        assert answer["unanswered"] is False
        tree, endpoints, mirrors, policy = (answer[key] for key in ("tree", "endpoints", "mirrors", "policy"))
        assert isinstance(tree, dict)
        assert tree["alt"][1]["taken"] is True
        assert "no source has this prefix" in tree["alt"][0]["verdict"]
        assert isinstance(endpoints, dict)
        assert [each["address"] for each in endpoints["/#/one/users"]["endpoints"]] == ["10.0.0.1", "10.0.0.2"]
        assert endpoints["/#/one/users"]["source"]["kind"] == "memory"
        assert isinstance(mirrors, list)
        assert [(each["to"], each["percent"], each["outcome"]) for each in mirrors] == [("/svc/cart", 5.0, "bound")]
        assert isinstance(policy, list)
        assert policy[0]["match"] == "/svc/users"
        local = await it.explain("users", local=parse_dtab("/svc/users => /#/one/cart"))
        assert local["local_dtab"] == "/svc/users=>/#/one/cart"
        assert isinstance(local["endpoints"], dict)
        assert list(local["endpoints"]) == ["/#/one/cart"]


async def test_a_name_that_is_no_name_and_an_agent_nobody_knows(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one") as it:
        with pytest.raises(ValueError, match="names no service"):
            await it.explain("a b")
        with pytest.raises(UnknownAgent, match="no agent 'host9' has been seen in default"):
            await it.explain("users", agent="host9")
        it.seen.joined("host9", "other", "0.1.0")
        with pytest.raises(UnknownAgent, match="it is of the namespace other"):
            await it.explain("users", agent="host9")


async def test_a_namespace_that_is_not_there_is_an_empty_table(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one") as it:
        found = await it.explaining.explain("other", "users", router=None, agent=None, at=None, local=None)
        assert (found["outcome"], found["table"]) == ("neg", None)


async def test_for_an_agent_it_is_what_that_agent_sees(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one | /#/docker/shop") as it:
        it.seen.joined("host7", "default", "0.1.0")
        local = {"/#/docker/shop/users": {"endpoints": 3}}
        refused = {"version": 2, "reason": "line 3: ..."}
        it.seen.reported("host7", {"table": 1, "table_refused": refused, "local": local, "sources": OWN, "names": []})
        it.platform.truth[USERS] = Neg()
        mine = await it.explain("users", agent="host7")
        assert mine["outcome"] == "bound"
        assert isinstance(mine["tree"], dict)
        assert mine["tree"]["alt"][1]["state"]["endpoints"] == 3
        assert isinstance(mine["agent"], dict)
        assert (mine["agent"]["table"], mine["agent"]["table_refused"]) == (1, refused)
        everybody = await it.explain("users")
        assert (everybody["outcome"], everybody["agent"]) == ("neg", None)
        # What it does not observe, nobody can tell.
        it.platform.truth[Path(("new",))] = Neg()
        unseen = await it.explain("new", agent="host7")
        assert unseen["outcome"] == "pending"
        assert "only agents with this source of their own can tell" in str(unseen["trail"])


async def test_an_agent_s_own_dentries_win_and_those_of_the_question_after_them(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one") as it:
        it.seen.joined("host7", "default", "0.1.0")
        it.seen.reported("host7", {"table": 1, "dtab": "/svc/users => /#/one/cart", "names": []})
        found = await it.explain("users", agent="host7")
        assert list(found["endpoints"]) == ["/#/one/cart"]  # type: ignore[call-overload]
        found = await it.explain("users")
        assert list(found["endpoints"]) == ["/#/one/users"]  # type: ignore[call-overload]
        local = parse_dtab("/svc/users => !")
        last = await it.explaining.explain("default", "users", router=None, agent="host7", at=None, local=local)
        assert last["outcome"] == "fail"


async def test_an_agent_with_an_older_table_is_explained_by_that(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one") as it:
        it.puts(version(2, "/svc => /#/one/cart"))
        it.seen.joined("host7", "default", "0.1.0")
        it.seen.reported("host7", {"table": 1, "names": []})
        mine = await it.explain("users", agent="host7")
        assert mine["table"] == 1
        assert isinstance(mine["endpoints"], dict)
        assert list(mine["endpoints"]) == ["/#/one/users"]
        it.tables.is_away = True
        unknown = await it.explain("users", agent="host7")
        assert unknown["outcome"] == "unknown"
        assert unknown["reason"] == (
            "not known: host7 has version 1 of the table, and that can't be read: the store can't be asked: it is away"
        )


async def test_the_past_is_explained_by_the_table_and_the_states_of_then(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/one | /#/one/cart") as it:
        for name in (USERS, CART):
            it.observatory.want(ROOT.then(name))
        await it.after(10)
        it.platform.state(USERS, Neg())
        await it.after(10)
        it.puts(version(2, "/svc => !"))
        await it.after(10)
        found = [await it.explain("users", at=BEGAN + seconds) for seconds in (5, 15, 25)]
        assert [each["outcome"] for each in found] == ["bound", "bound", "fail"]
        assert [each["table"] for each in found] == [1, 1, 2]
        ends = [list(each["endpoints"]) for each in found if isinstance(each["endpoints"], dict)]
        assert ends == [["/#/one/users"], ["/#/one/cart"], []]
        assert found[0]["at"] == "1970-01-12T13:46:45Z"
        before = await it.explain("users", at=BEGAN - 5)
        assert before["outcome"] == "unknown"
        assert "the journal begins at" in str(before["reason"])
        elsewhere = await it.explaining.explain("other", "users", router=None, agent=None, at=BEGAN + 5, local=None)
        assert elsewhere["outcome"] == "unknown"
        assert "no table of other was known here" in str(elsewhere["reason"])
        # Nobody wanted it, so nothing is known of it.
        other = await it.explain("other", at=BEGAN + 5)
        assert other["outcome"] == "pending"
        assert "nobody wanted it then" in str(other["trail"])


async def test_what_an_agent_saw_in_the_past_is_not_guessed(tmp_path: File) -> None:
    async with control(tmp_path / "journal.sqlite", "/svc => /#/docker/shop") as it:
        it.seen.joined("host7", "default", "0.1.0")
        it.seen.reported(
            "host7", {"table": 1, "local": {"/#/docker/shop/users": {"endpoints": 3}}, "sources": OWN, "names": []}
        )
        await it.after(10)
        assert (await it.explain("users", agent="host7"))["outcome"] == "bound"
        assert (await it.explain("users", agent="host7", at=BEGAN))["outcome"] == "pending"
