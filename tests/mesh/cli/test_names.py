from __future__ import annotations

import json

NAME = {
    "router": "http",
    "key": "users",
    "path": "/svc/users",
    "bound": "/#/consul/dc1/users",
    "endpoints": 3,
    "held": ["consul is away"],
    "age_seconds": 7300.0,
    "idle_seconds": 1.25,
}


async def test_names_in_use_are_a_table(ask, admin) -> None:
    admin.answers["/names"] = {"names": [NAME, {**NAME, "path": "/svc/orders", "bound": None, "held": []}]}
    done = await ask("names")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["ROUTER", "NAME", "BOUND", "TO", "ENDPOINTS", "AGE", "IDLE", "HELD"],
        ["http", "/svc/users", "/#/consul/dc1/users", "3", "2h", "1.2s", "consul", "is", "away"],
        ["http", "/svc/orders", "-", "3", "2h", "1.2s", "-"],
    ]


async def test_no_name_in_use_is_said(ask, admin) -> None:
    admin.answers["/names"] = {"names": []}
    assert "No name is in use" in (await ask("names")).stdout


FILES = {
    "prefix": "/#/files",
    "kind": "files",
    "freshness": "events",
    "lists": True,
    "count": 2,
    "names": ["/#/files/orders", "/#/files/users"],
    "error": None,
}


async def test_all_names_stand_below_their_source_and_its_freshness(ask, admin) -> None:
    one = {**FILES, "prefix": "/#/dns", "kind": "dns", "freshness": "poll every 2 s", "count": 1, "names": ["/#/dns/a"]}
    none = {**FILES, "prefix": "/#/static", "kind": "static", "freshness": "nothing changes", "count": 0, "names": []}
    unlisted = {"prefix": "/$/inet", "kind": "inet", "freshness": None, "lists": False, "count": None, "names": None}
    admin.answers["/names?all=1"] = {"sources": [FILES, one, none, unlisted]}
    done = await ask("names", "--all")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "/#/files (files, events): 2 names",
        "/#/files/orders",
        "/#/files/users",
        "/#/dns (dns, poll every 2 s): 1 name",
        "/#/dns/a",
        "/#/static (static, nothing changes): 0 names",
        "/$/inet (inet): has no list of its names",
    ]


async def test_a_source_that_can_not_be_listed_is_an_error_beside_the_others(ask, admin) -> None:
    consul = {"prefix": "/#/consul", "kind": "consul", "freshness": "long poll", "lists": True}
    consul |= {"count": None, "names": None, "error": "connection refused"}
    admin.answers["/names?all=1"] = {"sources": [FILES, consul]}
    done = await ask("names", "--all")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "/#/consul (consul, long poll): can't be listed"
    assert done.stderr == "/#/consul: can't be listed: connection refused\n"


async def test_a_hundred_thousand_names_are_one_a_line(ask, admin) -> None:
    many = [f"/#/files/n{number}" for number in range(100_000)]
    admin.answers["/names?all=1"] = {"sources": [{**FILES, "count": len(many), "names": many}]}
    done = await ask("names", "--all")
    assert done.stdout.splitlines()[1:] == many


async def test_json_is_what_the_agent_said(ask, admin) -> None:
    admin.answers["/names"] = {"names": [NAME]}
    assert json.loads((await ask("names", "-o", "json")).stdout) == {"names": [NAME]}
