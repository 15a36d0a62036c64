from __future__ import annotations

import json
from pathlib import Path

from mesh.cli import replicas
from mesh.cli.answer import Answer
from mesh.cli.replicas import Asked
from scripts.running import control, end, folder


def agents(*rows: dict[str, object]) -> Answer:
    return Answer({"agents": list(rows)})


def test_an_agent_is_told_by_the_replica_that_it_is_connected_to() -> None:
    gone = {"agent": "host7", "connected": False, "since": 9.0}
    here = {"agent": "host7", "connected": True, "since": 5.0}
    other = {"agent": "host1", "connected": False, "since": 3.0}
    asked = Asked({"a": agents(gone, other), "b": agents(here), "c": agents({**other, "since": 4.0})})
    assert replicas.agents(asked) == [{**other, "since": 4.0}, here]


def test_a_name_is_counted_at_all_replicas() -> None:
    users = {"router": "http", "name": "/svc/users", "rate": 1.5, "requests": 10, "failures": 1, "seen_at": 7.0}
    one = {**users, "agents": ["b", "a"], "bound": ["/#/dc1/users"]}
    two = {**users, "agents": ["c"], "bound": ["/#/dc2/users", "/#/dc1/users"], "seen_at": 8.0, "requests": 5}
    orders = {"router": "http", "name": "/svc/orders", "rate": 2.0}
    asked = Asked({"a": Answer({"names": [one, orders]}), "b": Answer({"names": [two]})})
    total = {
        "rate": 3.0,
        "requests": 15,
        "failures": 2,
        "agents": ["a", "b", "c"],
        "bound": ["/#/dc1/users", "/#/dc2/users"],
        "seen_at": 8.0,
    }
    assert replicas.names(asked) == [{**users, **total}, orders]


def test_one_that_is_gone_is_passed_over_and_told_of(tieline, tmp_path: Path) -> None:
    (tmp_path / "names.dtab").write_text("/svc => /$/inet/127.0.0.1 ;\n")
    store = {"store": {"kind": "sqlite", "file": str(tmp_path / "store.sqlite")}}
    with folder() as one, folder() as two, control(one, store) as first, control(two, store) as second:
        both = ("--control", f"{first.socket}, {second.socket}")
        assert tieline("dtab", "set", "names.dtab", *both).exit_code == 0
        done = tieline("status", "--fleet", *both, "-o", "json")
        assert (done.exit_code, list(json.loads(done.stdout)["replicas"])) == (
            0,
            [str(first.socket), str(second.socket)],
        )
        end(first.process)
        assert tieline("dtab", "get", *both).stdout == "/svc => /$/inet/127.0.0.1 ;\n"
        done = tieline("status", "--fleet", *both)
        assert done.exit_code == 1
        assert done.stderr == (
            f"✗ the control plane can't be reached at {first.socket}: there is no such socket. "
            "Start it (`tieline control`), or name another with --control\n"
        )
        assert done.stdout.count("tieline control ") == 1
        end(second.process)
        done = tieline("status", "--fleet", *both)
        assert (done.exit_code, done.stderr.count("can't be reached")) == (3, 2)
