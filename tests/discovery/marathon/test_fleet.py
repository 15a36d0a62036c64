"""Answers and events that overtake each other."""

from __future__ import annotations

from discovery.address import Health
from discovery.marathon.fleet import Fleet
from discovery.marathon.records import App, Entry, Task
from discovery.path import Path

A, B = Path(("a",)), Path(("b",))


def app(*tasks: str, health: Health | None = Health.UNKNOWN) -> App:
    return App(tuple(Task(name, "10.0.0.1", 80, health, "", "") for name in tasks))


def ids(entry: Entry | None) -> list[str]:
    assert isinstance(entry, App)
    return [task.id for task in entry.tasks]


def healths(entry: Entry | None) -> list[Health | None]:
    assert isinstance(entry, App)
    return [task.health for task in entry.tasks]


def knowing(**apps: App) -> Fleet:
    fleet = Fleet({})
    fleet.asks_all()
    fleet.answered_all({Path((name,)): entry for name, entry in apps.items()})
    return fleet


def test_a_list_replaces_everything() -> None:
    fleet = knowing(a=app("1"), b=app("2"))
    fleet.asks_all()
    fleet.answered_all({A: app("3")})
    assert fleet.apps == {A: app("3")}


def test_an_app_answered_while_the_list_was_on_its_way_is_newer() -> None:
    fleet = knowing(a=app("1"), b=app("2"))
    fleet.asks_all()
    fleet.asks(A)
    fleet.answered(A, app("new"))
    fleet.asks(B)
    fleet.answered(B, None)
    fleet.answered_all({A: app("1"), B: app("2")})
    assert fleet.apps == {A: app("new")}


def test_a_task_that_ended_is_gone_at_once_and_no_older_answer_brings_it_back() -> None:
    fleet = knowing(a=app("1", "2"))
    fleet.asks(A)
    assert fleet.ended(A, "1", draining=False)
    assert ids(fleet.apps[A]) == ["2"]
    fleet.answered(A, app("1", "2"))
    assert ids(fleet.apps[A]) == ["2"]


def test_nor_does_an_older_list() -> None:
    fleet = knowing(a=app("1", "2"))
    fleet.asks_all()
    fleet.ended(A, "1", draining=False)
    fleet.asks(A)
    fleet.answered_all({A: app("1", "2")})
    assert ids(fleet.apps[A]) == ["2"]


def test_an_answer_asked_for_after_the_event_is_believed() -> None:
    fleet = knowing(a=app("1", "2"))
    fleet.ended(A, "1", draining=False)
    fleet.asks(A)
    fleet.answered(A, app("1", "2"))
    assert ids(fleet.apps[A]) == ["1", "2"]
    fleet.ended(A, "1", draining=False)
    fleet.asks_all()
    fleet.answered_all({A: app("1", "2")})
    assert ids(fleet.apps[A]) == ["1", "2"]


def test_a_task_that_is_ending_drains() -> None:
    fleet = knowing(a=app("1", "2"))
    assert fleet.ended(A, "1", draining=True)
    assert healths(fleet.apps[A]) == [Health.DRAINING, Health.UNKNOWN]
    assert fleet.ended(A, "1", draining=False)
    assert ids(fleet.apps[A]) == ["2"]


def test_an_end_of_what_is_not_known_changes_nothing_but_is_remembered_for_the_list() -> None:
    fleet = Fleet({})
    fleet.asks_all()
    assert not fleet.ended(A, "1", draining=False)
    fleet.answered_all({A: app("1", "2")})
    assert ids(fleet.apps[A]) == ["2"]
    assert not fleet.ended(A, "7", draining=False)


def test_health_is_kept_over_answers_that_know_nothing_and_over_runs() -> None:
    fleet = knowing(a=app("1", health=Health.HEALTHY))
    fleet.asks(A)
    fleet.answered(A, app("1", "2", health=None))
    assert healths(fleet.apps[A]) == [Health.HEALTHY, None]
    next_run = fleet.successor().successor()
    assert next_run.apps == {}
    next_run.asks_all()
    next_run.answered_all({A: app("1", health=None)})
    assert healths(next_run.apps[A]) == [Health.HEALTHY]
