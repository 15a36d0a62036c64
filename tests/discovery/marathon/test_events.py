"""Recorded events, as Marathon's documentation and issues show them, and what they mean."""

from __future__ import annotations

import json

import pytest

from discovery.marathon.events import Anything, Changed, Ended, Meaning, Posted, Regrouped, Starting, meaning
from discovery.marathon.records import Malformed
from discovery.marathon.sse import Event
from discovery.path import Path

MY_APP = Path(("my-app",))
STATUS = {
    "slaveId": "20140909-054127-177048842-5050-1494-0",
    "taskId": "my-app_0-1396592784349",
    "taskStatus": "TASK_RUNNING",
    "appId": "/my-app",
    "host": "slave-1234.acme.org",
    "ports": [31372],
    "version": "2014-04-04T06:26:23.051Z",
}
INSTANCE = "my-app.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c"
ACTION = {"action": "ScaleApplication", "app": "/my-app"}


def means(kind: str, **body: object) -> Meaning:
    return meaning(Event(kind, json.dumps({"eventType": kind, "timestamp": "2014-03-01T23:29:30.158Z", **body})))


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("event_stream_attached", {"remoteAddress": "127.0.0.1"}, None),
        ("status_update_event", STATUS, Changed((MY_APP,))),
        ("status_update_event", {**STATUS, "taskStatus": "TASK_STAGING"}, Starting(MY_APP)),
        (
            "health_status_changed_event",
            {"appId": "/my-app", "instanceId": INSTANCE, "alive": True},
            Changed((MY_APP,)),
        ),
        ("instance_changed_event", {"runSpecId": "/a/b", "condition": "Running"}, Changed((Path(("a", "b")),))),
        ("instance_health_changed_event", {"runSpecId": "/my-app", "healthy": None}, Changed((MY_APP,))),
        ("unhealthy_task_kill_event", {"appId": "/my-app", "taskId": "my-app_0", "host": "h"}, Changed((MY_APP,))),
        ("remove_health_check_event", {"appId": "/my-app"}, Changed((MY_APP,))),
        ("app_terminated_event", {"appId": "/my-app"}, Changed((MY_APP,))),
        ("api_post_event", {"uri": "/v2/apps/my-app", "appDefinition": {"id": "/my-app"}}, Posted(MY_APP)),
        ("api_post_event", {"uri": "/v2/apps/my-app"}, Anything()),
        ("group_change_success", {"groupId": "/product-a/backend", "version": "2014"}, Regrouped()),
        ("deployment_success", {"id": "867ed450-f6a8-4d33-9b0e-e11c5513990b"}, Anything()),
        ("deployment_success", {"plan": {"steps": [ACTION]}}, Changed((MY_APP,))),
        ("deployment_failed", {"plan": {"steps": [{"actions": [ACTION, ACTION]}]}}, Changed((MY_APP,))),
        ("deployment_success", {"plan": {"steps": []}}, None),
        ("deployment_success", {"plan": {"steps": [{"actions": [{"pod": "/p"}]}]}}, None),
        ("failed_health_check_event", {"appId": "/my-app"}, None),
        ("an_event_of_the_future", {"appId": 7}, None),
    ],
)
def test_what_an_event_means(kind: str, body: dict[str, object], expected: Meaning) -> None:
    assert means(kind, **body) == expected


@pytest.mark.parametrize(
    "status", ["FINISHED", "FAILED", "KILLED", "LOST", "GONE", "GONE_BY_OPERATOR", "DROPPED", "ERROR", "UNREACHABLE"]
)
def test_a_task_that_has_ended_is_named(status: str) -> None:
    ended = means("status_update_event", **{**STATUS, "taskStatus": f"TASK_{status}"})
    assert ended == Ended(MY_APP, "my-app_0-1396592784349")


def test_a_task_that_is_being_killed_drains() -> None:
    killing = means("status_update_event", **{**STATUS, "taskStatus": "TASK_KILLING"})
    assert killing == Ended(MY_APP, "my-app_0-1396592784349", draining=True)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ("{", "status_update_event: Invalid JSON"),
        ("[]", "status_update_event: Input should be an object"),
        ('{"appId": 7}', "status_update_event: appId: Input should be a valid string"),
        ('{"appId": "/a//b"}', "'/a//b' is no app id"),
    ],
)
def test_garbage_is_told_with_its_place(data: str, where: str) -> None:
    with pytest.raises(Malformed) as raised:
        meaning(Event("status_update_event", data))
    assert where in str(raised.value)
