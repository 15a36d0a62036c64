from dataclasses import replace

from discovery.docker.fleet import Fleet
from discovery.docker.records import Container, State

ONE = Container("1", "one", ("-", "web"), State.RUNNING)
TWO = Container("2", "two", ("-", "web"), State.RUNNING)


def test_containers_are_found_by_id_and_by_service() -> None:
    fleet = Fleet()
    assert [fleet.put(each) for each in (ONE, TWO, ONE, replace(ONE, state=State.PAUSED))] == [True, True, False, True]
    assert fleet.get("1") == replace(ONE, state=State.PAUSED)
    assert set(fleet.of(("-", "web"))) == {replace(ONE, state=State.PAUSED), TWO}
    assert (fleet.ids(), list(fleet.keys()), len(fleet)) == ({"1", "2"}, [("-", "web")], 2)


def test_a_service_is_gone_with_its_last_container() -> None:
    fleet = Fleet()
    fleet.put(ONE)
    fleet.put(TWO)
    assert fleet.remove("1") == ONE
    assert list(fleet.of(("-", "web"))) == [TWO]
    assert fleet.remove("2") == TWO
    assert fleet.remove("2") is None
    assert (list(fleet.of(("-", "web"))), list(fleet.keys()), len(fleet)) == ([], [], 0)
