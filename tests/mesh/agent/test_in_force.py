"""Tables that change while requests run, through a real Envoy: each is in force, and none costs a request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from demo.calls import load
from mesh.agent.in_force import InForce
from mesh.agent.snapshot_file import SnapshotFile
from mesh.agent.table import Own, Table
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE
from scripts.running import eventually, folder, service
from tests.certificates import Authority
from tests.host import PATIENCE
from tests.in_process import InProcess, in_process, version
from tests.mesh.agent.test_origination import secure
from tests.upstream import upstream

CHANGES = 200


async def answer(it: InProcess, name: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(it.url, headers={"host": name, **headers}) as response,
    ):
        return response.status, await response.text()


async def until(it: InProcess, name: str, body: str) -> None:
    """A worker of Envoy takes a scope a moment after Envoy has acknowledged it."""

    async def answered() -> bool:
        return (await answer(it, name))[1] == body

    await eventually(answered, PATIENCE, f"{name} is not answered by {body!r}", 0)


async def test_200_changes_in_a_row_cost_no_request_and_each_is_in_force() -> None:
    async with service("one") as one, service("two") as two, in_process() as it:
        it.put("one", one)
        it.put("two", two)
        await it.take(version(1, "/svc/users => /#/files/one"))
        await until(it, "users", "one")
        async with load(it.url, "users") as seen:
            for number in range(2, 2 + CHANGES):
                to = ("one", "two")[number % 2]
                await it.take(version(number, f"/svc/users => /#/files/{to}"), "users")
                await until(it, "users", to)
        assert not seen.failed
        assert seen.answers.keys() == {"one", "two"}


TIMEOUTS = "[{match: /svc/users, timeout: {request: %ds}}]"
POLICIES = {
    "timeout": TIMEOUTS % 7,
    "retries": "[{match: /svc/users, retries: {num_retries: 3, conditions: [5xx]}}]",
    "limits": "[{match: /svc/users, limits: {requests: 77}}]",
    "mirror": "[{match: /svc/users, mirror: [{to: /svc/copy}]}]",
    "header": "[{match: /svc/users, headers: {request: {set: {x-said: policy}}}}]",
    "none": "",
}


async def test_policies_change_too_and_cost_no_request() -> None:
    async with upstream("users") as users, upstream("copy") as copy, in_process() as it:
        it.put("users", users.port)
        it.put("copy", copy.port)
        dtab = "/svc => /#/files"
        await it.take(version(1, dtab))
        await until(it, "users", "users")
        async with load(it.url, "users") as seen:
            for number in range(2, 2 + 60):
                kind = list(POLICIES)[number % len(POLICIES)]
                await it.take(version(number, dtab, POLICIES[kind]), "users")
                count = seen.answers["users"]
                await eventually(lambda count=count: seen.answers["users"] > count + 5, PATIENCE, "no answers", 0)  # type: ignore[misc]
        assert not seen.failed
        assert copy.asked["GET"] > 0
        assert "policy" in users.headers("x-said")
        assert len(users.heard) > len(users.headers("x-said"))


async def test_tls_to_endpoints_is_turned_on_and_changed_and_off_while_requests_run(tmp_path: Path) -> None:
    authority, other = Authority(), Authority("another")
    ca, wrong = tmp_path / "ca.pem", tmp_path / "wrong.pem"
    ca.write_bytes(authority.signed.pem)
    wrong.write_bytes(other.signed.pem)
    async with (
        secure(tmp_path, authority.server("users")) as tls,
        service("plain") as plain,
        in_process() as it,
    ):
        it.put("secure", tls.port)
        it.put("plain", plain)
        secured = f"[{{match: /svc/users, tls: {{ca: {ca}, san: [users]}}}}]"
        number = 1
        await it.take(version(number, "/svc/users => /#/files/plain"))
        await until(it, "users", "plain")
        async with load(it.url, "users") as seen:
            for policies, dtab, body in [
                (secured, "/svc/users => /#/files/secure", "secure"),
                ("", "/svc/users => /#/files/plain", "plain"),
                (secured.replace("san", "sni: users, san"), "/svc/users => /#/files/secure", "secure"),
                ("", "/svc/users => /#/files/plain", "plain"),
            ]:
                number += 1
                await it.take(version(number, dtab, policies), "users")
                await until(it, "users", body)
        assert not seen.failed
        # The table whose authorities nobody has made is refused; when they are there, it is taken.
        missing = tmp_path / "later.pem"
        late = version(99, "/svc/users => /#/files/secure", secured.replace(str(ca), str(missing)))
        assert f"{missing}: the file can't be read" in await it.until_refused(late)
        assert (await answer(it, "users"))[1] == "plain"
        missing.write_bytes(authority.signed.pem)
        in_force = it.brain.in_force
        await eventually(lambda: in_force.applied.fleet == late, PATIENCE, "it is not tried again")
        await until(it, "users", "secure")


async def test_an_unreadable_table_is_refused_with_its_place_and_the_last_good_stays() -> None:
    async with service("one") as one, in_process() as it:
        it.put("one", one)
        good = version(1, "/svc/users => /#/files/one")
        await it.take(good)
        await until(it, "users", "one")
        reason = await it.until_refused(version(2, "/svc/users => /#/files/one ;\n/svc => => /x"))
        assert reason.startswith("dtab, line 2, column 9: ")
        reason = await it.until_refused(version(3, "/svc => /#/files", "- match: /svc\n  timeout: {request: soon}\n"))
        assert reason.startswith("policies, line 2, column 22: [0].timeout.request: a duration such as")
        reason = await it.until_refused(version(4, "/svc => /#/files", "- [\n"))
        assert reason.startswith("policies, line ")
        assert it.brain.in_force.applied.fleet == good
        assert (await answer(it, "users")) == (200, "one")
        await it.take(version(5, "/svc/users => /#/files/one # another text"))
        assert it.brain.in_force.refused is None


async def test_a_return_to_the_table_in_force_ends_the_refusal_of_another() -> None:
    async with in_process() as it:
        good = version(1, "/svc => /#/files")
        await it.take(good)
        await it.until_refused(version(2, "/svc =>"))
        it.heard.clear()
        it.brain.in_force.offer(good)
        await it.heard.wait()
        assert it.brain.in_force.refused is None


async def test_names_that_come_out_the_same_cost_no_push() -> None:
    async with service("one") as one, in_process() as it:
        it.put("one", one)
        await it.take(version(1, "/svc/users => /#/files/one"))
        await until(it, "users", "one")
        before = {kind: dict(it.brain.ads.store.resources(kind)) for kind in (CLUSTER, ENDPOINTS, SCOPE)}
        sequence = it.brain.ads.store.sequence
        await it.take(
            version(
                2, "/svc/users => /#/files/one ; /svc/orders => /#/files/two", TIMEOUTS.replace("users", "orders") % 3
            )
        )
        assert it.brain.ads.store.sequence == sequence
        assert {kind: dict(it.brain.ads.store.resources(kind)) for kind in before} == before


async def test_of_a_burst_the_last_table_counts() -> None:
    async with service("one") as one, in_process() as it:
        it.put("one", one)
        await it.take(version(1, "/svc/users => /#/files/one"))
        await until(it, "users", "one")
        applied: list[Table] = []
        bind_by = it.brain.in_force.apply

        def counting(table: Table) -> None:
            applied.append(table)
            bind_by(table)

        it.brain.in_force.apply = counting
        for number in range(2, 1000):
            it.brain.in_force.offer(version(number, f"/svc/users => /#/files/one ; /svc/n{number} => /#/files/one"))
        await it.take(version(1000, "/svc/users => /#/files/one"), "users")
        assert [each.fleet.number for each in applied if each.fleet] == [1000]


async def test_the_agents_own_entries_win_and_a_deleted_namespace_is_an_empty_table() -> None:
    own = [{"match": "/svc/mine", "headers": {"request": {"set": {"x-said": "own"}}}}]
    fleet = "[{match: /svc/mine, headers: {request: {set: {x-said: fleet}}}}]"
    async with (
        upstream("own") as mine,
        upstream("fleet") as theirs,
        in_process("/svc/mine => /#/files/own", policies=own) as it,
    ):
        it.put("own", mine.port)
        it.put("fleet", theirs.port)
        it.brain.mount([])
        assert (await answer(it, "mine"))[0] == 200
        await it.take(version(1, "/svc => /#/files/fleet", fleet))
        await until(it, "mine", "own")
        assert mine.headers("x-said")[-1] == "own"
        await until(it, "theirs", "fleet")
        assert it.brain.in_force.applied.version.startswith("1+")
        await it.take(version(2, None))
        assert (await answer(it, "mine"))[0] == 200
        assert (await answer(it, "theirs"))[0] == 404


@dataclass
class Envoys:
    """Proxies that take and refuse what the test says."""

    current: bool = False
    refusals: frozenset[tuple[str, str]] = frozenset()

    def is_current(self) -> bool:
        return self.current

    def refused(self) -> frozenset[tuple[str, str]]:
        return self.refusals


async def test_the_disk_remembers_what_envoy_has_taken_and_nothing_that_it_refused() -> None:
    envoys, remembered = Envoys(refusals=frozenset({("CDS", "old")})), list[int]()
    it = InForce(
        Own(),
        None,
        proxies=envoys,
        remember=lambda fleet: remembered.append(fleet.number),
        files=lambda _table: {},
    )
    applied = asyncio.Event()
    it.apply = lambda _table: applied.set()

    async def bound(number: int) -> None:
        applied.clear()
        it.offer(version(number, "/svc => /x"))
        await applied.wait()
        it.bound()

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(it.keep())
        await bound(1)
        it.acknowledged()
        assert remembered == []
        envoys.current = True
        it.acknowledged()
        assert remembered == [1]
        await bound(2)
        assert remembered == [1, 2]
        envoys.current = False
        await bound(3)
        envoys.current, envoys.refusals = True, frozenset({("CDS", "old"), ("CDS", "new")})
        it.acknowledged()
        assert remembered == [1, 2]
        envoys.refusals = frozenset({("CDS", "old")})
        it.acknowledged()
        assert remembered == [1, 2, 3]
        keeping.cancel()


async def test_a_real_envoys_acknowledgement_puts_the_table_on_disk() -> None:
    async with service("one") as one, in_process() as it:
        it.put("one", one)
        good = version(1, "/svc/users => /#/files/one", "[]")
        await it.take(good, "users")
        await until(it, "users", "one")
        disk = SnapshotFile(it.place / "state" / "snapshot.sqlite")
        await eventually(lambda: disk.read(0.0).fleet.table == good, PATIENCE, "the table is not remembered")
        disk.close()


async def test_a_brain_begins_with_what_the_disk_remembers_of_its_namespace() -> None:
    with folder() as place:
        async with service("one") as one:
            async with in_process(place=place) as it:
                it.put("one", one)
                await it.take(version(1, "/svc => /#/files"))
                await until(it, "one", "one")
                await eventually(lambda: it.brain.snapshot.status()["written_at"], PATIENCE, "nothing is written")
            async with in_process(place=place) as it:
                assert it.brain.in_force.applied.version == "1"
                assert (await answer(it, "one")) == (200, "one")
            async with in_process(place=place, control={"url": "http://127.0.0.1:1", "namespace": "other"}) as it:
                assert it.brain.in_force.applied.fleet is None
            async with in_process(place=place, control=None) as it:
                assert it.brain.in_force.applied.fleet is None


async def test_with_an_access_log_a_table_that_touches_no_name_is_told_with_each_name(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    async with service("one") as one, in_process(access_log={"path": str(file), "only": "all"}) as it:
        it.put("users", one)
        await it.take(version(1, "/svc => /#/files"))
        await until(it, "users", "one")

        async def tables() -> set[str]:
            await answer(it, "users")
            told = [json.loads(line) for line in file.read_text().splitlines()]
            return {line["table"] for line in told if line["name"] == "/svc/users"}

        async def has(count: int) -> bool:
            return len(await tables()) == count

        await eventually(lambda: has(1), PATIENCE, "no line")
        await it.take(version(2, "/svc => /#/files ; /svc/other => /#/files/users"))
        await eventually(lambda: has(2), PATIENCE, "users has the old table")
