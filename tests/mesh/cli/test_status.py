from __future__ import annotations

import json
from typing import Any

SOURCE = {
    "prefix": "/#/consul",
    "kind": "consul",
    "freshness": "long poll",
    "state": "ok",
    "observations": 4,
    "held": 0,
    "failed": 0,
    "errors": 7,
    "oldest_confirmed_seconds": 12.0,
    "reason": None,
    "last_error": None,
}


def well(**changes: Any) -> dict[str, Any]:
    synced = {"sent": 2, "acked": 2, "synced": "SYNCED", "nacks": 0}
    answer: dict[str, Any] = {
        "version": "0.1.0",
        "uptime_seconds": 125.0,
        "ready": True,
        "brain": {"pid": 7, "rss_bytes": 50 * 2**20},
        "envoy": {"version": "1.40.0", "state": "LIVE", "epoch": 0},
        "sources": [SOURCE],
        "proxies": [
            {"id": "host-1", "connected_seconds": 60.0, "types": {"CDS": synced, "SDS": {"synced": "NOT SENT"}}}
        ],
        "nacks": [],
    }
    return answer | changes


async def test_all_well_ends_with_0(ask, admin) -> None:
    admin.answers["/status"] = well()
    done = await ask("status")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[:3] == [
        "tieline 0.1.0, ready, up 2m",
        "brain: pid 7, 50 MiB",
        "envoy: 1.40.0, LIVE, epoch 0",
    ]
    assert "SOURCE     KIND    FRESHNESS  STATE  NAMES  HELD  FAILED  ERRORS  CONFIRMED" in lines
    assert "/#/consul  consul  long poll  ok     4      0     0       7       12s ago" in lines
    assert "PROXY   CONNECTED  CDS     SDS" in lines
    assert "host-1  60s        SYNCED  NOT SENT" in lines


async def test_what_is_wrong_is_said_and_ends_with_1(ask, admin) -> None:
    stale = {"id": "host-1", "types": {"CDS": {"synced": "STALE"}, "EDS": {"synced": "SYNCED"}}}
    nack = {"type": "Cluster", "resource": "users", "message": "bad port", "because": ["/svc/users by /svc=>/#/files"]}
    sources = [
        {**SOURCE, "held": 2, "reason": "connection refused", "last_error": "no route"},
        {**SOURCE, "prefix": "/#/dns", "failed": 1},
    ]
    admin.answers["/status"] = well(ready=False, sources=sources, proxies=[stale], nacks=[nack])
    done = await ask("status")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "✗ not ready: no Envoy has acknowledged its configuration yet",
        "✗ source /#/consul: names held at the last known good: 2 (connection refused)",
        "✗ source /#/dns: names that can't be observed: 1",
        "✗ proxy host-1: CDS is STALE",
        "✗ Envoy refused Cluster users: bad port (because of /svc/users by /svc=>/#/files)",
    ]


async def test_an_error_that_is_over_is_told_and_is_no_complaint(ask, admin) -> None:
    admin.answers["/status"] = well(sources=[{**SOURCE, "last_error": "connection refused", "last_error_seconds": 200}])
    done = await ask("status")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "/#/consul: last error 3m ago: connection refused" in done.stdout.splitlines()


async def test_json_is_what_the_agent_said_and_ends_the_same(ask, admin) -> None:
    admin.answers["/status"] = well(ready=False)
    done = await ask("status", "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == well(ready=False)


async def test_an_answer_with_less_in_it_is_shown_too(ask, admin) -> None:
    admin.answers["/status"] = {"ready": True}
    assert (await ask("status")).exit_code == 0


CONTROL = {
    "connected": True,
    "url": "https://control.example:4180/v1/agent",
    "replica": "control-1",
    "reason": None,
    "since_seconds": 200.0,
    "namespace": "shop",
    "name": "host7",
    "version": 17,
    "table_since_seconds": 130.0,
    "refused": None,
}


async def test_the_control_plane_and_its_table_are_named(ask, admin) -> None:
    admin.answers["/status"] = well(control=CONTROL, table="17+0a1b2c3d")
    done = await ask("status")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()][3:5] == [
        "control plane: https://control.example:4180/v1/agent control-1, connected for 3m",
        "table: 17+0a1b2c3d of shop, in force for 2m",
    ]


async def test_a_control_plane_that_is_away_and_a_table_that_is_refused_are_complaints(ask, admin) -> None:
    refused = {"version": 18, "reason": "dtab, line 3, column 1: '/' expected"}
    away = {"connected": False, "url": None, "reason": "connection refused", "version": None, "refused": refused}
    admin.answers["/status"] = well(control=CONTROL | away, table="0a1b2c3d")
    done = await ask("status")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "✗ control plane: not connected for 3m (connection refused); what is known goes on",
        f"✗ table: version 18 of shop can't be used, the last good one stays in force ({refused['reason']})",
    ]
    assert [line.rstrip() for line in done.stdout.splitlines()][3:5] == [
        "control plane: not connected for 3m",
        "table: 0a1b2c3d, the agent's own, in force for 2m",
    ]


async def test_a_disk_that_takes_nothing_is_a_complaint(ask, admin) -> None:
    snapshot = {"written_at": 1.0, "writing_seconds": None, "error": "disk full", "error_seconds": 300.0}
    admin.answers["/status"] = well(snapshot=snapshot)
    done = await ask("status")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == ["✗ snapshot: not written since 5m ago, a restart would know less (disk full)"]
    admin.answers["/status"] = well(snapshot=snapshot | {"error": None, "writing_seconds": 12.0})
    assert (await ask("status")).stderr.splitlines() == ["✗ snapshot: the disk has been writing for 12s"]
