from __future__ import annotations

import json
import time

import pytest

DENTRY = {"prefix": "/svc", "dst": "/#/files | /#/consul/dc1"}
WHERE = {"dentry": DENTRY, "where": "tieline.yaml", "line": 4}

HELD = "HELD at the last known good since 2m ago: consul is away"
BY = "source /#/consul: consul, long poll; confirmed 3m ago"
FROM = "[tieline.yaml:4  /svc => /#/files | /#/consul/dc1]"
CONSUL = {"prefix": "/#/consul", "kind": "consul", "freshness": "long poll"}
FILES = {"prefix": "/#/files", "kind": "files", "freshness": "events"}


def answer(outcome: str = "bound") -> dict[str, object]:
    now = time.time()
    gone = {"type": "neg", "confirmed_at": now - 33, "held": None}
    held = {"confirmed_at": now - 200, "held": "consul is away", "held_since": now - 130}
    slow = {"type": "pending", "reason": "no route"}
    return {
        "name": "users",
        "path": "/svc/users",
        "router": "http",
        "outcome": outcome,
        "tree": {
            "type": "alt",
            "path": "/svc/users",
            "taken": True,
            "alt": [
                {
                    "type": "neg",
                    "path": "/#/files/users",
                    "verdict": "no such name",
                    "source": FILES,
                    "state": gone,
                    **WHERE,
                },
                {
                    "type": "pending",
                    "path": "/#/consul/dc2/users",
                    "verdict": "has not answered yet (no route)",
                    "source": CONSUL,
                    "state": slow,
                },
                {
                    "type": "neg",
                    "path": "/#/consul/dc3/users",
                    "verdict": "no such name (held: consul is away)",
                    "source": CONSUL,
                    "state": {"type": "neg", **held},
                },
                {
                    "type": "leaf",
                    "path": "/#/consul/dc1/users/old",
                    "taken": True,
                    "bound": {"id": "/#/consul/dc1/users", "path": "/old"},
                    "source": CONSUL,
                    "state": {"type": "bound", "endpoints": 2, "usable": True, **held},
                    **WHERE,
                },
            ],
        },
        "endpoints": {
            "/#/consul/dc1/users": {
                "state": "known",
                "endpoints": [
                    {"address": "10.0.0.1", "port": 80, "weight": 1.0, "health": "healthy", "zone": "a", "host": "h1"},
                    {"address": "10.0.0.2", "port": 80, "health": "draining", "origin": "users-2 on web-1"},
                    {"address": "::1", "port": 81, "weight": 2.5, "health": "unknown", "zone": "", "host": ""},
                ],
            }
        },
        "proxies": [
            {"id": "host-1", "key": "users", "has": True, "standing": "applied", "version": "v7"},
            {"id": "host-2", "key": "users", "has": False, "standing": "not acknowledged yet", "version": "v7"},
        ],
        "trail": [],
    }


async def test_the_tree_says_what_was_refused_and_why_and_what_was_taken(ask, admin) -> None:
    admin.answers["/explain?name=users"] = answer()
    done = await ask("explain", "users")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "users (router http): bound",
        "✓ /svc/users  the first of",
        f"├── ✗ /#/files/users: no such name (source /#/files: files, events; confirmed 33s ago)   {FROM}",
        "├── ✗ /#/consul/dc2/users: has not answered yet (no route) (source /#/consul: consul, long poll)",
        f"├── ✗ /#/consul/dc3/users: no such name (held: consul is away) ({BY}; held since 2m ago)",
        f"└── ✓ /#/consul/dc1/users/old: 2 endpoints, residual /old, {HELD} ({BY})   {FROM}",
        "    ├── 10.0.0.1:80  zone a  on h1",
        "    ├── 10.0.0.2:80  users-2 on web-1  draining",
        "    └── [::1]:81  weight 2.5",
        "proxy host-1: has version v7",
        "proxy host-2: not acknowledged yet",
    ]


async def test_router_and_local_table_are_passed_on(ask, admin) -> None:
    admin.answers["/explain?name=%2Fsvc%2Fusers&router=inside&dtab=%2Fsvc+%3D%3E+%2F%23%2Fstatic"] = answer()
    done = await ask("explain", "/svc/users", "--router", "inside", "--dtab-local", "/svc => /#/static")
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("empty", "it exists, with nothing behind it: callers get 503"),
        ("neg", "no such name: callers get 404"),
        ("fail", "refused by the table: callers get 503"),
        ("pending", "not known yet: a source has not answered"),
        ("broken", "the table can't be followed: callers get 503"),
    ],
)
async def test_a_name_without_endpoints_ends_with_1(outcome: str, words: str, ask, admin) -> None:
    admin.answers["/explain?name=users"] = answer(outcome)
    done = await ask("explain", "users")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"users (router http): {words}\n")


async def test_json_is_what_the_agent_said(ask, admin) -> None:
    admin.answers["/explain?name=users"] = answer("neg")
    done = await ask("explain", "users", "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == admin.answers["/explain?name=users"]


async def test_what_comes_through_the_control_plane_is_said_to(ask, admin) -> None:
    through = {**CONSUL, "through": "control plane"}
    tree = {
        "type": "leaf",
        "path": "/#/consul/dc1/users",
        "bound": {"id": "/#/consul/dc1/users", "path": "/"},
        "state": {"confirmed_at": time.time() - 200, "endpoints": 1, "usable": True},
        "source": through,
        "taken": True,
    }
    admin.answers["/explain?name=users"] = answer() | {"tree": tree}
    (line,) = [line for line in (await ask("explain", "users")).stdout.splitlines() if "/#/consul/dc1/users" in line]
    assert "(source /#/consul: consul, long poll; through the control plane; confirmed 3m ago)" in line
