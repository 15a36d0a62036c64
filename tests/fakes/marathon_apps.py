"""Marathon's apps, tasks and events as its documentation shows them (1.5 and newer), and those a fake holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import count

Json = dict[str, object]

TIMESTAMP = "2026-11-23T10:00:00.000Z"


def definition(app_id: str, **fields: object) -> Json:
    """An app in host mode with one port, `http`, unless `fields` says otherwise."""
    return {
        "id": app_id,
        "cmd": "serve",
        "cpus": 0.1,
        "mem": 64,
        "disk": 0,
        "instances": 0,
        "labels": {},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 10000, "protocol": "tcp", "name": "http", "labels": {}}],
        "healthChecks": [],
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": TIMESTAMP,
        "versionInfo": {"lastConfigChangeAt": TIMESTAMP, "lastScalingAt": TIMESTAMP},
        "tasksRunning": 0,
        "tasksStaged": 0,
        "tasksHealthy": 0,
        "tasksUnhealthy": 0,
        "deployments": [],
        **fields,
    }


def task(task_id: str, host: str = "10.0.0.1", *ports: int, **fields: object) -> Json:
    """A running one."""
    return {
        "id": task_id,
        "host": host,
        "ports": list(ports),
        "servicePorts": [10000 + index for index, _ in enumerate(ports)],
        "ipAddresses": [{"ipAddress": host, "protocol": "IPv4"}],
        "state": "TASK_RUNNING",
        "slaveId": "20261123-100000-S0",
        "stagedAt": TIMESTAMP,
        "startedAt": TIMESTAMP,
        "version": TIMESTAMP,
        "region": "aws/eu-central-1",
        "zone": "aws/eu-central-1a",
        "localVolumes": [],
        **fields,
    }


def result(*, alive: bool, task_id: str = "") -> Json:
    return {
        "alive": alive,
        "consecutiveFailures": 0 if alive else 1,
        "firstSuccess": TIMESTAMP if alive else None,
        "lastFailure": None if alive else TIMESTAMP,
        "lastSuccess": TIMESTAMP if alive else None,
        "lastFailureCause": None,
        "instanceId": task_id,
    }


def status_update(app_id: str, a_task: Json, status: str) -> Json:
    return {
        "eventType": "status_update_event",
        "timestamp": TIMESTAMP,
        "slaveId": a_task["slaveId"],
        "taskId": a_task["id"],
        "taskStatus": status,
        "message": "",
        "appId": app_id,
        "host": a_task["host"],
        "ipAddresses": a_task["ipAddresses"],
        "ports": a_task["ports"],
        "version": a_task["version"],
    }


def api_post(an_app: Json) -> Json:
    uri = f"/v2/apps{an_app['id']}"
    body = {"clientIp": "127.0.0.1", "uri": uri, "appDefinition": an_app}
    return {"eventType": "api_post_event", "timestamp": TIMESTAMP, **body}


def group_change(group_id: str = "/") -> Json:
    return {
        "eventType": "group_change_success",
        "timestamp": TIMESTAMP,
        "groupId": group_id,
        "version": TIMESTAMP,
    }


def app_terminated(app_id: str) -> Json:
    return {"eventType": "app_terminated_event", "timestamp": TIMESTAMP, "appId": app_id}


def health_changed(app_id: str, task_id: str, *, alive: bool) -> Json:
    body = {"appId": app_id, "instanceId": task_id, "version": TIMESTAMP, "alive": alive}
    return {"eventType": "health_status_changed_event", "timestamp": TIMESTAMP, **body}


class Apps:
    """What a Marathon knows. Each app is written as JSON once, however often it is asked for."""

    def __init__(self, tell: Callable[[Json], None]) -> None:
        self._tell = tell
        self._definitions: dict[str, Json] = {}
        self._tasks: dict[str, dict[str, Json]] = {}
        self._written: dict[str, bytes] = {}
        self._count = count(1)

    # As users and agents change it

    def define(self, app_id: str, *tasks: Json, **fields: object) -> None:
        """The app as it is from now on, told as a change by the API is told, and then task by task."""
        before = self._tasks.get(app_id, {})
        self._definitions[app_id] = definition(app_id, **fields)
        self._tasks[app_id] = {str(each["id"]): each for each in tasks}
        self._forget(app_id)
        self._tell(group_change())
        self._tell(api_post(self._definitions[app_id]))
        for task_id, gone in before.items():
            if task_id not in self._tasks[app_id]:
                self._tell(status_update(app_id, gone, "TASK_KILLED"))
        for task_id, new in self._tasks[app_id].items():
            if task_id not in before:
                self._tell(status_update(app_id, new, str(new["state"])))

    def place(self, app_id: str, endpoints: Iterable[tuple[str, int]]) -> None:
        """One task per endpoint; those that are there already stay."""
        tasks = {(each["host"], tuple(each["ports"])): each for each in self.tasks(app_id)}  # type: ignore[arg-type]
        wanted = [tasks.get((host, (port,))) or self.new_task(app_id, host, port) for host, port in endpoints]
        self.define(app_id, *wanted)

    def new_task(self, app_id: str, host: str, *ports: int, **fields: object) -> Json:
        return task(f"{app_id.strip('/').replace('/', '_')}.{next(self._count):08d}-0000", host, *ports, **fields)

    def update(self, app_id: str, task_id: str, status: str, **fields: object) -> None:
        """The status of a task as its agent tells it."""
        changed = {**self._tasks[app_id][task_id], "state": status, **fields}
        if status in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"):
            self._tasks[app_id][task_id] = changed
        else:
            del self._tasks[app_id][task_id]
        self._forget(app_id)
        self._tell(status_update(app_id, changed, status))

    def check(self, app_id: str, task_id: str, *, alive: bool) -> None:
        """A health check has changed its mind."""
        self._tasks[app_id][task_id]["healthCheckResults"] = [result(alive=alive, task_id=task_id)]
        self._forget(app_id)
        self._tell(health_changed(app_id, task_id, alive=alive))

    def forget_health(self) -> None:
        """As a leader that was just elected: it has not checked anything."""
        for app_id, tasks in self._tasks.items():
            for each in tasks.values():
                each.pop("healthCheckResults", None)
            self._forget(app_id)

    def destroy(self, app_id: str) -> None:
        gone = self._tasks.pop(app_id, {})
        self._definitions.pop(app_id, None)
        self._forget(app_id)
        self._tell(group_change())
        for each in gone.values():
            self._tell(status_update(app_id, each, "TASK_KILLED"))
        self._tell(app_terminated(app_id))

    # As it is asked for

    def ids(self) -> list[str]:
        return list(self._definitions)

    def tasks(self, app_id: str) -> list[Json]:
        return list(self._tasks.get(app_id, {}).values())

    def one(self, app_id: str, *, with_tasks: bool) -> bytes | None:
        if app_id not in self._definitions:
            return None
        return self._write(app_id) if with_tasks else json.dumps(self._definitions[app_id]).encode()

    def all(self, *, with_tasks: bool) -> bytes:
        written = (self.one(app_id, with_tasks=with_tasks) or b"" for app_id in self._definitions)
        return b'{"apps":[' + b",".join(written) + b"]}"

    def listed_tasks(self, app_ids: Iterable[str]) -> list[Json]:
        return [{"appId": app_id, **each} for app_id in app_ids for each in self.tasks(app_id)]

    def _write(self, app_id: str) -> bytes:
        if app_id not in self._written:
            tasks = self.listed_tasks([app_id])
            whole = {**self._definitions[app_id], "instances": len(tasks), "tasksRunning": len(tasks), "tasks": tasks}
            self._written[app_id] = json.dumps(whole).encode()
        return self._written[app_id]

    def _forget(self, app_id: str) -> None:
        self._written.pop(app_id, None)
