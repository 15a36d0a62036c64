"""Recorded payloads: what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.address import Bound, Endpoint, Health, Protocol
from discovery.marathon import records
from discovery.marathon.ports import Rules
from discovery.marathon.records import App, Entry, Malformed, Task, Unusable
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from tests.fakes.marathon_apps import Json, definition, result, task

USERS = Path(("shop", "users"))

# As a Marathon 1.4 answers, from one of its issues; shortened where nothing of it is read.
OLD = b"""
{"apps": [{"id": "/prod/talkk/audit", "cmd": null, "instances": 2, "cpus": 0.1,
  "container": {"type": "DOCKER", "docker": {"image": "audit:1", "network": "BRIDGE", "portMappings":
    [{"containerPort": 8080, "hostPort": 0, "servicePort": 10001, "protocol": "tcp", "labels": {}}]}},
  "healthChecks": [{"path": "/ops/ping", "protocol": "HTTP", "portIndex": 0, "gracePeriodSeconds": 5}],
  "ports": [10001], "portDefinitions": [{"port": 10001, "protocol": "tcp", "labels": {}}], "labels": {},
  "ipAddress": null, "version": "2015-12-24T00:07:02.194Z", "tasksRunning": 2, "deployments": [],
  "tasks": [
   {"id": "prod_talkk_audit.42256046-a9d2-11e5-8f88-024250c46707", "slaveId": "439cda89-S0", "host": "10.1.2.3",
    "startedAt": "2015-12-24T00:07:08.450Z", "stagedAt": "2015-12-24T00:07:02.400Z", "ports": [31434],
    "version": "2015-12-24T00:07:02.194Z", "ipAddresses": [{"ipAddress": "172.17.0.2", "protocol": "IPv4"}],
    "appId": "/prod/talkk/audit", "servicePorts": [10001], "healthCheckResults": [
      {"alive": true, "consecutiveFailures": 0, "firstSuccess": "2015-12-24T00:07:13.000Z", "lastFailure": null,
       "lastSuccess": "2015-12-24T00:30:00.000Z", "taskId": "prod_talkk_audit.42256046"}]},
   {"id": "prod_talkk_audit.99", "slaveId": "439cda89-S1", "host": "10.1.2.4", "startedAt": null, "ports": [31000],
    "stagedAt": "2015-12-24T00:07:02.400Z", "version": "2015-12-24T00:07:02.194Z", "appId": "/prod/talkk/audit"}]}]}
"""


def listed(*apps: object, rules: Rules | None = None) -> dict[Path, Entry]:
    return dict(records.apps(json.dumps({"apps": apps}).encode(), rules or Rules()))


def users(*tasks: Json, rules: Rules | None = None, **fields: object) -> App:
    found = listed({**definition("/shop/users", **fields), "tasks": tasks}, rules=rules)[USERS]
    assert isinstance(found, App)
    return found


def endpoints(app: App, addresses: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Endpoint, ...]:
    addr = records.addr(app, addresses or {})
    assert isinstance(addr, Bound)
    return addr.endpoints


def test_a_recorded_answer_of_an_old_marathon() -> None:
    ((path, app),) = records.apps(OLD, Rules())
    assert path == Path(("prod", "talkk", "audit"))
    assert isinstance(app, App)
    (endpoint,) = endpoints(app)
    assert endpoint == Endpoint(
        "10.1.2.3",
        31434,
        health=Health.HEALTHY,
        host="10.1.2.3",
        origin="prod_talkk_audit.42256046-a9d2-11e5-8f88-024250c46707",
    )


def test_everything_that_is_said_reaches_the_endpoint() -> None:
    labels = {
        "tieline.weight": "2.5",
        "tieline.protocol": "GRPC",
        "tieline.port": "http",
        "tieline.canary": "yes",
        "team": "shop",
        "HAPROXY_0_VHOST": "users.example",
    }
    app = users(task("users.1", "10.0.0.1", 31000), labels=labels, rules=Rules(labels=("team", "nobody")))
    assert endpoints(app) == (
        Endpoint(
            address="10.0.0.1",
            port=31000,
            weight=2.5,
            zone="aws/eu-central-1a",
            health=Health.UNKNOWN,
            host="10.0.0.1",
            protocol=Protocol.GRPC,
            metadata=(("canary", "yes"), ("team", "shop")),
            origin="users.1",
        ),
    )


def test_a_task_with_an_address_of_its_own() -> None:
    ip = {"networks": [{"mode": "container", "name": "dcos"}], "container": {"portMappings": [{"containerPort": 80}]}}
    own = [{"ipAddress": "9.0.0.5", "protocol": "IPv4"}, {"ipAddress": "fd01::5", "protocol": "IPv6"}]
    app = users(task("u.1", "agent-1", ipAddresses=own), task("u.2", "agent-1", ipAddresses=[]), **ip)
    assert [(each.key, each.host) for each in endpoints(app)] == [(("9.0.0.5", 80), "agent-1")]
    assert records.host_names(app) == set()


def test_a_host_name_is_resolved_and_stays_the_host() -> None:
    app = users(task("u.1", "agent-1.example", 31000), task("u.2", "10.0.0.2", 31000))
    assert records.host_names(app) == {"agent-1.example"}
    found = endpoints(app, {"agent-1.example": ("10.0.0.1", "fd01::1")})
    assert [(each.address, each.host) for each in found] == [
        ("10.0.0.1", "agent-1.example"),
        ("10.0.0.2", "10.0.0.2"),
        ("fd01::1", "agent-1.example"),
    ]
    assert [each.address for each in endpoints(app, {"agent-1.example": ()})] == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("fields", "health"),
    [
        ({"state": "TASK_STAGING", "startedAt": None}, None),
        ({"state": "TASK_STARTING"}, None),
        ({"state": "TASK_UNREACHABLE"}, None),
        ({"state": None, "startedAt": None}, None),
        ({"state": None}, Health.UNKNOWN),
        ({"state": "TASK_KILLING"}, Health.DRAINING),
        ({"ports": []}, None),
        ({"host": ""}, None),
        ({"healthCheckResults": [result(alive=True), result(alive=True)]}, Health.HEALTHY),
        ({"healthCheckResults": [result(alive=True), result(alive=False)]}, Health.UNHEALTHY),
        ({"healthCheckResults": [None]}, Health.UNKNOWN),
        ({"healthCheckResults": []}, Health.UNKNOWN),
    ],
)
def test_how_a_task_is(fields: Json, health: Health | None) -> None:
    found = endpoints(users({**task("u.1", "10.0.0.1", 31000), **fields}))
    assert [each.health for each in found] == ([health] if health else [])


@pytest.mark.parametrize("results", [[], None, [None]])
def test_a_task_whose_checks_have_not_reported_is_not_called_yet(results: list[None] | None) -> None:
    app = users(task("u.1", "10.0.0.1", 31000, healthCheckResults=results), healthChecks=[{"protocol": "HTTP"}])
    assert [each.health for each in app.tasks] == [None]
    assert [each.health for each in endpoints(app)] == [Health.UNHEALTHY]


def test_a_task_whose_checks_have_not_reported_keeps_the_health_it_had() -> None:
    before = users(
        task("u.1", "10.0.0.1", 1, healthCheckResults=[result(alive=True)]),
        task("u.2", "10.0.0.2", 1, healthCheckResults=[result(alive=False)]),
        healthChecks=[{}],
    )
    names = ("u.1", "u.2", "u.3")
    after = users(*(task(name, f"10.0.0.{name[-1]}", 1) for name in names), healthChecks=[{}])
    kept = records.remembering(after, before)
    assert isinstance(kept, App)
    assert [each.health for each in kept.tasks] == [Health.HEALTHY, Health.UNHEALTHY, None]
    assert records.remembering(after, None) is after
    assert records.remembering(before, after) is before


def test_tasks_that_have_ended_are_left_out_and_those_that_are_ending_drain() -> None:
    app = users(*(task(name, "10.0.0.1", port) for port, name in enumerate(("a", "b", "c"), 1)))
    rest = records.without(app, {"a": False, "b": True, "x": False})
    assert isinstance(rest, App)
    assert [(each.id, each.health) for each in rest.tasks] == [("b", Health.DRAINING), ("c", Health.UNKNOWN)]
    assert records.without(app, {"x": True}) is app


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"portDefinitions": [{"port": 0, "name": "http"}]}, Protocol.HTTP1),
        ({"portDefinitions": [{"port": 0, "name": "http2"}]}, Protocol.HTTP2),
        ({"portDefinitions": [{"port": 0, "name": "api", "protocol": "tcp"}]}, None),
        ({"portDefinitions": [{"port": 0, "name": "http", "labels": {"tieline.protocol": "tcp"}}]}, Protocol.TCP),
        ({"labels": {"tieline.protocol": "h2c"}}, Protocol.HTTP2),
        ({"labels": {"tieline.protocol": "carrier pigeon"}}, None),
    ],
)
def test_what_it_speaks(fields: Json, expected: Protocol | None) -> None:
    assert users(task("u.1", "10.0.0.1", 1), **fields).protocol is expected


def test_an_app_without_tasks_without_ports_or_without_weight_exists() -> None:
    running = task("u.1", "10.0.0.1", 31000)
    for app in (users(), users(running, portDefinitions=[]), users(running, labels={"tieline.weight": "0"})):
        assert records.addr(app, {}) == Bound(())


def test_labels_that_make_no_sense_are_a_mistake_of_that_app_only() -> None:
    found = listed(
        {**definition("/a", labels={"tieline.weight": "much"}), "tasks": []},
        {**definition("/b", labels={"tieline.port": "admin"}), "tasks": []},
        {**definition("/c"), "tasks": []},
    )
    a, b, c = (found[Path((name,))] for name in "abc")
    assert a == Unusable(Misconfigured, "app /a: its label tieline.weight is 'much', which is no weight")
    assert b == Unusable(Misconfigured, "app /b: its label tieline.port is 'admin'; its ports are 0 http")
    assert isinstance(c, App)
    assert records.host_names(a) == set()
    assert records.without(a, {"x": True}) is a


def test_an_app_that_makes_no_sense_does_not_take_the_others_with_it() -> None:
    broken = {**definition("/a"), "tasks": [task("a.1", "10.0.0.1", 1), {**task("a.2"), "ports": ["80"]}]}
    no_tasks = definition("/b")
    found = listed(broken, no_tasks, {**definition("/c"), "tasks": []})
    reason = "Marathon's answer about app /a makes no sense: tasks.1.ports.0: Input should be a valid integer"
    assert found[Path(("a",))] == Unusable(Unavailable, reason)
    b = found[Path(("b",))]
    assert isinstance(b, Unusable)
    assert "tasks: Field required" in b.reason
    assert isinstance(found[Path(("c",))], App)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"apps": [{"cmd": "x"}]}', "apps.0: an app with an id expected"),
        (b'{"apps": ["/a"]}', "apps.0: an app with an id expected"),
        (b'{"apps": [{"id": "/"}]}', "'/' is no app id"),
        (b'{"apps": [', "where the text ends"),
        (b'{"apps": [\xff]}', "no UTF-8 at byte 10"),
        (b"", "Expecting value"),
    ],
)
def test_a_list_that_makes_no_sense_is_told_with_the_place(body: bytes, where: str) -> None:
    with pytest.raises(Malformed) as raised:
        list(records.apps(body, Rules()))
    assert where in str(raised.value)


def test_one_app() -> None:
    body = json.dumps({"app": {**definition("/shop/users"), "tasks": [task("u.1", "10.0.0.1", 31000)]}}).encode()
    found = records.app(body, USERS, Rules())
    assert isinstance(found, App)
    assert found.tasks == (Task("u.1", "10.0.0.1", 31000, Health.UNKNOWN, "10.0.0.1", "aws/eu-central-1a"),)
    for wrong, where in ((b"[]", "an object with `app`"), (b"{", "where the text ends"), (b'{"app": 1}', "an id")):
        with pytest.raises(Malformed, match=where):
            records.app(wrong, USERS, Rules())
    with pytest.raises(Malformed, match="/shop/users instead of /shop"):
        records.app(body, Path(("shop",)), Rules())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"message": "App \'/x\' does not exist"}', True),
        (b"<html>404</html>", False),
        (b"[1]", False),
        (b"{}", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_a_404_of_marathon_has_a_message(body: bytes, says: bool) -> None:
    assert records.says_absent(body) is says


@pytest.mark.parametrize(("app_id", "path"), [("/a", ("a",)), ("/a/b.c/d-e", ("a", "b.c", "d-e")), ("a/b", ("a", "b"))])
def test_an_id_is_a_path(app_id: str, path: tuple[str, ...]) -> None:
    assert records.app_path(app_id) == Path(path)


def test_equal_sets_are_equal_whatever_their_order() -> None:
    tasks = [task(f"u.{n}", f"10.0.0.{n}", 31000) for n in range(5)]
    app = users(*tasks)
    assert records.addr(app, {}) == records.addr(replace(app, tasks=app.tasks[::-1]), {})


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_are_read_as_something_else_than_apps_or_malformed(body: bytes) -> None:
    with suppress(Malformed):
        assert all(isinstance(entry, App | Unusable) for _, entry in records.apps(body, Rules()))
