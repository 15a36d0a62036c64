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


async def test_a_source_that_can_not_be_listed_is_an_error_beside_the_others(ask, admin) -> None:
    admin.answers["/names?all=1"] = {
        "sources": [
            {"prefix": "/#/files", "kind": "files", "names": ["/orders", "/users"], "error": None},
            {"prefix": "/#/consul", "kind": "consul", "names": [], "error": "connection refused"},
        ]
    }
    done = await ask("names", "--all")
    assert done.exit_code == 1
    assert done.stdout == "/#/files/orders\n/#/files/users\n"
    assert done.stderr == "/#/consul: can't be listed: connection refused\n"


async def test_json_is_what_the_agent_said(ask, admin) -> None:
    admin.answers["/names"] = {"names": [NAME]}
    assert json.loads((await ask("names", "-o", "json")).stdout) == {"names": [NAME]}
