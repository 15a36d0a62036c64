from __future__ import annotations

import pytest

from discovery.marathon.hosts import Hosts
from discovery.source import Unavailable


class Zone:
    def __init__(self, **addresses: tuple[str, ...]) -> None:
        self.addresses, self.asked, self.seconds = addresses, list[str](), 60.0

    async def resolve(self, host: str) -> tuple[tuple[str, ...], float]:
        self.asked.append(host)
        if host not in self.addresses:
            raise Unavailable(f"DNS: {host} A: no answer")
        return self.addresses[host], self.seconds


async def test_a_name_is_asked_for_once_while_its_answer_is_good() -> None:
    zone = Zone(one=("10.0.0.1",))
    hosts = Hosts(zone.resolve)
    await hosts.learn({"one"})
    await hosts.learn({"one"})
    assert zone.asked == ["one"]
    assert hosts.addresses({"one"}) == {"one": ("10.0.0.1",)}


async def test_an_answer_that_is_not_good_any_more_is_asked_for_again() -> None:
    zone = Zone(one=("10.0.0.1",))
    zone.seconds = 0.0
    hosts = Hosts(zone.resolve)
    await hosts.learn({"one"})
    zone.addresses["one"] = ("10.0.0.9",)
    await hosts.learn({"one"})
    assert hosts.addresses({"one"}) == {"one": ("10.0.0.9",)}


async def test_a_name_without_an_answer_concerns_only_who_needs_it() -> None:
    zone = Zone(one=("10.0.0.1",))
    hosts = Hosts(zone.resolve)
    await hosts.learn({"one", "two"})
    assert hosts.addresses({"one"}) == {"one": ("10.0.0.1",)}
    for _ in range(2):
        with pytest.raises(Unavailable, match="DNS: two A: no answer"):
            hosts.addresses({"one", "two"})
    zone.addresses["two"] = ("10.0.0.2",)
    await hosts.learn({"one", "two"})
    assert hosts.addresses({"two"}) == {"two": ("10.0.0.2",)}


async def test_names_that_are_gone_are_forgotten() -> None:
    hosts = Hosts(Zone(one=("10.0.0.1",), two=()).resolve)
    await hosts.learn({"one", "two"})
    hosts.forget({"two"})
    assert hosts.addresses({"two"}) == {"two": ()}
    with pytest.raises(Unavailable, match="one has not been resolved"):
        hosts.addresses({"one"})
