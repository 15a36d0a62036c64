"""`/v1/namespaces` over a real store: what is in force, changes and their conditions, and what guards them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from tests.control import control

ONE = "/v1/namespaces/default"


async def test_a_namespace_is_made_changed_and_deleted() -> None:
    async with control() as served:
        assert (await served.get(ONE)).status == 404
        first = await served.ask("PUT", ONE, json={"dtab": "/svc => /#/files ; # ours", "why": "begin"})
        assert (first.status, first.headers["etag"]) == (200, '"MQ=="')
        assert first.json["preview"]["refused"] is False
        got = (await served.get(ONE)).json
        assert got == {
            "namespace": "default",
            "version": 1,
            "etag": "MQ==",
            "at": got["at"],
            "who": "writer",
            "why": "begin",
            "deleted": False,
            "dtab": "/svc => /#/files ; # ours",
            "policies": "",
        }
        second = await served.ask("PUT", ONE, json={"policies": "- {match: /svc/users, timeout: {request: 5s}}"})
        assert second.json["dtab"] == "/svc => /#/files ; # ours", "what is left away stays"
        deleted = await served.ask("DELETE", f"{ONE}?why=over&yes=true")
        assert (deleted.status, deleted.json["version"], deleted.json["deleted"]) == (200, 3, True)
        gone = await served.get(ONE)
        assert gone.status == 404
        assert gone.error == "writer has deleted the namespace 'default', as version 3 (over)"
        [row] = (await served.get("/v1/namespaces")).json["namespaces"]
        assert (row["version"], row["deleted"]) == (3, True)
        assert (await served.ask("DELETE", ONE)).status == 404


async def test_history_tells_every_version_with_its_content() -> None:
    async with control() as served:
        for number in range(1, 6):
            await served.put(f"/a => /{number}")
        await served.ask("DELETE", ONE)
        all_of = (await served.get(f"{ONE}/history")).json
        assert [each["version"] for each in all_of["versions"]] == [6, 5, 4, 3, 2, 1]
        assert [each["dtab"] for each in all_of["versions"]][:2] == [None, "/a => /5"]
        assert all_of["more"] is False
        page = (await served.get(f"{ONE}/history?limit=2&before=5")).json
        assert ([each["version"] for each in page["versions"]], page["more"]) == ([4, 3], True)
        assert (await served.get(f"{ONE}?version=2")).json["dtab"] == "/a => /2"
        assert (await served.get(f"{ONE}?version=6")).json["deleted"] is True
        missing = await served.get(f"{ONE}?version=9")
        assert (missing.status, missing.error) == (404, "the namespace 'default' has no version 9")


async def test_history_of_large_tables_comes_in_pages() -> None:
    async with control() as served:
        for number in range(1, 15):
            await served.put(f"/a => /{number} ;#{'x' * 300_000}")
        page = (await served.get(f"{ONE}/history")).json
        assert page["more"] is True
        assert 1 < len(page["versions"]) < 14
        rest = (await served.get(f"{ONE}/history?before={page['versions'][-1]['version']}")).json
        assert rest["versions"][0]["version"] == page["versions"][-1]["version"] - 1


async def test_a_rollback_is_a_new_version_with_an_earlier_content() -> None:
    async with control() as served:
        await served.put("/a => /good")
        await served.put("/a => /bad")
        back = await served.ask("POST", f"{ONE}/rollback", json={"to": 1})
        assert (back.json["version"], back.json["dtab"], back.json["why"]) == (3, "/a => /good", "back to version 1")
        again = await served.ask("POST", f"{ONE}/rollback", json={"to": 1})
        assert (again.json["version"], again.json["preview"]) == (3, None), "nothing had to change"
        assert (await served.ask("POST", f"{ONE}/rollback", json={"to": 8})).status == 404


async def test_what_is_so_already_makes_no_version() -> None:
    async with control() as served:
        await served.put("/a => /b")
        same = await served.put("/a => /b")
        assert same.json["version"] == 1
        records = (await served.get("/v1/audit")).json["records"]
        assert [each["result"] for each in records] == ["unchanged", "made"]


CONDITIONS: list[Any] = [
    pytest.param({"If-Match": '"Mg=="'}, 200, id="that version"),
    pytest.param({"If-Match": "Mg=="}, 200, id="without quotes"),
    pytest.param({"If-Match": '"MQ=="'}, 412, id="an earlier one"),
    pytest.param({"If-Match": '"MQ==", "Mg=="'}, 200, id="one of these"),
    pytest.param({"If-Match": 'W/"Mg=="'}, 412, id="weak"),
    pytest.param({"If-Match": '"nonsense"'}, 412, id="none of ours"),
    pytest.param({"If-Match": "*"}, 200, id="any"),
    pytest.param({"If-None-Match": "*"}, 412, id="none"),
    pytest.param({"If-None-Match": '"Mg=="'}, 412, id="not that one"),
    pytest.param({"If-None-Match": '"MQ=="'}, 200, id="not the earlier one"),
    pytest.param({"If-Match": "*", "If-None-Match": "*"}, 412, id="both"),
    pytest.param({"If-Match": '"'}, 400, id="half a quote"),
    pytest.param({}, 200, id="no condition"),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
async def test_a_change_is_made_if_its_condition_holds(headers: dict[str, str], status: int) -> None:
    async with control() as served:
        await served.put("/a => /1")
        await served.put("/a => /2")
        said = await served.ask("PUT", ONE, json={"dtab": "/a => /3"}, headers=headers)
        assert said.status == status, said.body
        if status == 412:
            assert said.json["current"]["dtab"] == "/a => /2"
        else:
            assert (await served.get(ONE)).json["dtab"] == ("/a => /3" if status == 200 else "/a => /2")


async def test_conditions_on_what_is_not_there() -> None:
    async with control() as served:
        for headers in ({"If-Match": "*"}, {"If-Match": '"MQ=="'}):
            said = await served.ask("PUT", ONE, json={"dtab": "/a => /b"}, headers=headers)
            assert (said.status, said.json["current"]) == (412, None)
        made = await served.ask("PUT", ONE, json={"dtab": "/a => /b"}, headers={"If-None-Match": "*"})
        assert made.status == 200
        assert (await served.ask("DELETE", ONE, headers={"If-Match": '"MQ=="'})).status == 200
        again = await served.ask("PUT", ONE, json={"dtab": "/a => /c"}, headers={"If-None-Match": "*"})
        assert (again.status, again.json["version"]) == (200, 3), "what is deleted is not there"


async def test_what_has_not_changed_is_not_sent_again() -> None:
    async with control() as served:
        await served.put("/a => /b")
        said = await served.get(ONE, headers={"If-None-Match": '"MQ=="'})
        assert (said.status, said.body, said.headers["etag"]) == (304, b"", '"MQ=="')
        assert (await served.get(ONE, headers={"If-None-Match": '"Mg=="'})).status == 200


async def test_of_writers_at_the_same_time_none_is_lost_and_no_field_is_overwritten() -> None:
    async with control() as served:
        await served.put("/a => /0")

        async def change(number: int) -> int:
            key = {"dtab": f"/a => /{number}"} if number % 2 else {"policies": f"# {number}"}
            return (await served.ask("PUT", ONE, json={**key, "yes": True})).status

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(change(number)) for number in range(1, 9)]
        statuses = [each.result() for each in asked]
        assert set(statuses) <= {200, 412}
        versions = (await served.get(f"{ONE}/history")).json["versions"]
        assert len(versions) == 1 + statuses.count(200)
        for after, before in pairwise(versions):
            changed = [key for key in ("dtab", "policies") if after[key] != before[key]]
            assert len(changed) == 1, "each change is on top of the one before"


async def test_of_writers_with_a_condition_exactly_one_wins() -> None:
    async with control() as served:
        await served.put("/a => /0")

        async def change(number: int) -> int:
            body = {"dtab": f"/a => /{number}", "yes": True}
            return (await served.ask("PUT", ONE, json=body, headers={"If-Match": '"MQ=="'})).status

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(change(number)) for number in range(1, 9)]
        assert sorted(each.result() for each in asked) == [200, *[412] * 7]


async def test_a_table_that_does_not_read_is_refused_with_every_problem() -> None:
    async with control() as served:
        said = await served.ask("PUT", ONE, json={"dtab": "/a => /b ;\n/c = /d", "policies": "- {match: 3}"})
        assert said.status == 400
        assert said.error.startswith("dtab: line 2, column 4: '=>' expected")
        assert {(each["where"], each["code"], each["line"]) for each in said.json["problems"]} >= {("dtab", "TL001", 2)}
        assert any(each["where"] == "policies" for each in said.json["problems"])
        assert (await served.get(ONE)).status == 404


async def test_a_table_that_goes_in_a_circle_is_refused() -> None:
    async with control() as served:
        said = await served.ask("PUT", ONE, json={"dtab": "/a => /b ; /b => /a"})
        assert said.status == 400
        assert "circle" in said.error


async def test_lint_tells_problems_and_changes_nothing() -> None:
    async with control() as served:
        said = await served.ask("POST", f"{ONE}/lint", json={"dtab": "/svc => /#/nowhere"}, by="reader")
        assert said.status == 200
        assert [each["code"] for each in said.json["problems"]] == ["TL004"]
        bad = await served.ask("POST", f"{ONE}/lint", json={"dtab": "/svc"}, by="reader")
        assert [each["level"] for each in bad.json["problems"]] == ["error"]
        assert (await served.get("/v1/namespaces")).json["namespaces"] == []
        assert (await served.get("/v1/audit")).json["records"] == []


@pytest.fixture
def two() -> dict[str, str]:
    return {"here": "/svc => /#/files", "there": "/svc => /#/files ; /svc/users => /#/files/other"}


async def test_a_preview_says_which_names_move_and_changes_nothing(two: dict[str, str]) -> None:
    async with control() as served:
        served.name("users", 1001)
        served.name("other", 1002, 1003)
        await served.put(two["here"])
        async with served.agent() as agent:
            await served.in_use(agent, "/svc/users", "/svc/other")
            said = await served.ask("POST", f"{ONE}/preview", json={"dtab": two["there"]}, by="reader")
            assert said.status == 200
            assert (said.json["names"], said.json["moved_share"], said.json["refused"]) == (2, 0.5, True)
            [moved] = said.json["changed"]
            shown = {key: moved[key] for key in ("name", "before", "after", "after_endpoints")}
            assert shown == {
                "name": "/svc/users",
                "before": "/#/files/users",
                "after": "/#/files/other",
                "after_endpoints": 2,
            }
            assert (await served.get(ONE)).json["version"] == 1
            bad = await served.ask("POST", f"{ONE}/preview", json={"dtab": "/svc"}, by="reader")
            assert bad.status == 400


async def test_a_change_that_moves_too_much_is_409_until_the_caller_says_yes(two: dict[str, str]) -> None:
    async with control() as served:
        served.name("users", 1001)
        served.name("other", 1002)
        await served.put(two["here"])
        async with served.agent() as agent:
            await served.in_use(agent, "/svc/users", "/svc/other")
            said = await served.ask("PUT", ONE, json={"dtab": two["there"]})
            assert said.status == 409
            assert said.error == (
                "this would move 50 % of the requests, and the limit is 10 %. Say yes if that is meant"
            )
            assert said.json["preview"]["refused"] is True
            assert (await served.get(ONE)).json["version"] == 1
            deleted = await served.ask("DELETE", ONE)
            assert deleted.status == 409, "a deletion is a change, too"
            done = await served.ask("PUT", ONE, json={"dtab": two["there"], "yes": True})
            assert (done.status, done.json["preview"]["moved_share"]) == (200, 0.5)
        records = (await served.get("/v1/audit")).json["records"]
        assert [(each["result"], each["status"]) for each in records][:3] == [
            ("made", 200),
            ("refused", 409),
            ("refused", 409),
        ]


async def test_a_change_within_the_limit_needs_no_yes(two: dict[str, str]) -> None:
    async with control(preview={"limit": "50%"}) as served:
        served.name("users", 1001)
        served.name("other", 1002)
        await served.put(two["here"])
        async with served.agent() as agent:
            await served.in_use(agent, "/svc/users", "/svc/other")
            assert (await served.ask("PUT", ONE, json={"dtab": two["there"]})).status == 200
