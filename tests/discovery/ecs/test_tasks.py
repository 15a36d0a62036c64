from __future__ import annotations

from dataclasses import replace

from discovery.address import Health
from discovery.ecs.records import Task
from discovery.ecs.tasks import Tasks


def task(id: str = "a", *, version: int = 3, service: str = "users", health: Health | None = Health.HEALTHY) -> Task:
    return Task(
        id=id,
        service=service,
        definition="users:1",
        launch_type="FARGATE",
        zone="eu-west-1a",
        instance="",
        running=True,
        draining=False,
        health=health,
        connected=True,
        version=version,
        address="10.0.0.1",
        containers=(),
    )


def stopped(id: str, version: int) -> Task:
    return replace(task(id, version=version), running=False, draining=True)


def test_a_read_says_which_services_have_changed() -> None:
    tasks = Tasks()
    assert tasks.read({"a", "b"}, [task("a"), task("b", service="orders")]) == {"users", "orders"}
    assert tasks.read({"a", "b"}, [task("a"), task("b", service="orders")]) == set()
    assert tasks.read({"a", "b"}, [task("a")]) == {"orders"}
    assert dict(tasks.of("orders")) == {}
    assert tasks.read({"a"}, [stopped("a", 4)]) == {"users"}
    assert tasks.known == {}


def test_an_older_event_is_no_news() -> None:
    tasks = Tasks()
    tasks.read({"a"}, [task(version=5)])
    assert not tasks.hear(replace(task(version=4), zone="old"))
    assert not tasks.hear(task(version=5))
    assert tasks.hear(replace(task(version=6), zone="new"))


def test_a_read_that_was_overtaken_by_an_event_does_not_undo_it() -> None:
    tasks = Tasks()
    tasks.read({"a", "b"}, [task("a"), task("b")])
    tasks.begin()
    tasks.hear(stopped("a", 4))
    tasks.hear(replace(task("b", version=4), draining=True))
    tasks.hear(task("c"))
    assert tasks.read({"a", "b"}, [task("a", version=3), task("b", version=3)]) == set()
    assert {id: each.draining for id, each in tasks.known.items()} == {"b": True, "c": False}


def test_an_event_of_before_a_stop_does_not_bring_a_task_back() -> None:
    tasks = Tasks()
    tasks.hear(task(version=3))
    assert tasks.hear(stopped("a", 5))
    assert not tasks.hear(task(version=4))


def test_what_an_event_found_is_not_lost_by_a_read_that_knew_nothing_of_it_yet() -> None:
    tasks = Tasks()
    tasks.begin()
    tasks.hear(task("a"))
    assert tasks.read({"a"}, []) == set()
    tasks.begin()
    assert tasks.read({"a"}, []) == {"users"}


def test_an_event_that_is_silent_about_health_leaves_it() -> None:
    tasks = Tasks()
    tasks.read({"a"}, [task(version=3)])
    tasks.hear(replace(task(version=4, health=None), zone="b"))
    assert tasks.known["a"].health is Health.HEALTHY
    tasks.hear(task("new", health=None))
    assert tasks.known["new"].health is Health.UNKNOWN


def test_clearing_changes_everything() -> None:
    tasks = Tasks()
    tasks.read({"a", "b"}, [task("a"), task("b", service="orders")])
    assert tasks.clear() == {"users", "orders"}
    assert not tasks.of("users")
