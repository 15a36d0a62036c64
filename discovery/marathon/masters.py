"""In which order the masters are asked. Any of them may answer: those that do not lead forward to the one that does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from yarl import URL

from discovery.source import Unavailable

T = TypeVar("T")


class Elsewhere(Unavailable):
    """A master sends us to the leader. We go there only if it is one that we were told of: it gets our credentials."""

    def __init__(self, master: str, location: str) -> None:
        self.location = location
        super().__init__(f"{master} sends us to {location}, which is none of `addresses` that answers")


class Masters:
    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        self._first = addresses[0]

    def turn(self) -> None:
        """The next one is asked first from now on."""
        at = self._addresses.index(self._first)
        self._first = self._addresses[(at + 1) % len(self._addresses)]

    async def ask(self, question: Callable[[str], Awaitable[T]]) -> T:
        """The first answer, each master being asked once at most. Raises Unavailable when there is none."""
        at = self._addresses.index(self._first)
        waiting = [*self._addresses[at:], *self._addresses[:at]]
        failures: dict[str, str] = {}
        while waiting:
            master = waiting.pop(0)
            try:
                answer = await question(master)
            except Elsewhere as redirect:
                failures[master] = str(redirect)
                waiting = _led(waiting, redirect.location)
            except Unavailable as failure:
                failures[master] = str(failure)
            else:
                self._first = master
                return answer
        # In the order of the configuration: the same cause has the same text.
        raise Unavailable("; ".join(failures[address] for address in self._addresses))


def _led(waiting: list[str], location: str) -> list[str]:
    """Whom we are sent to comes first."""
    return sorted(waiting, key=lambda address: not _is_below(location, address))


def _is_below(location: str, address: str) -> bool:
    try:
        there = URL(location)
    except ValueError:
        return False
    here = URL(address)
    return there.is_absolute() and there.origin() == here.origin() and there.path.startswith(here.path.rstrip("/"))
