"""Binds names for the API: under a namespace's table, over what the control plane observes. One walk with agents'."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from discovery.address import Pending, State
from discovery.path import Path
from mesh.agent.asking import Asking, Question
from mesh.control.api.watching import Broken
from mesh.control.api.writing import Tables
from mesh.control.version import Version
from mesh.naming import bind
from mesh.naming.bind import Binding, Namer, Options
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab

AskState = Callable[[Path], State]


@dataclass(frozen=True, slots=True)
class Asks:
    """What is to be bound. `namespace` None: by the namers alone. `local`: on top of its table."""

    path: Path
    namespace: str | None
    local: Dtab
    exhaustive: bool = False


@dataclass(frozen=True, slots=True)
class Binder:
    tables: Tables
    asking: Asking
    namers: Sequence[Namer]
    options: Options

    @property
    def state(self) -> AskState:
        return self.asking.observatory.state

    async def once(self, asks: Asks, seconds: float | None = None) -> Binding:
        """`seconds`: how long to wait for what has not answered; None: as configured. Raises DtabSyntaxError."""
        with self.asking.question() as question:
            return await question.settled(self._walk(asks), self.asking.until(seconds))

    def is_answered(self, binding: Binding) -> bool:
        return not any(isinstance(self.state(path), Pending) for path in binding.wanted)

    async def changes(self, asks: Asks, render: Callable[[Binding], bytes | None]) -> AsyncGenerator[bytes]:
        """What is true, and again whenever that changes. `render` None: nothing is to be told."""
        sent: bytes | None = None
        with self.asking.question() as question:
            unsubscribe = self.tables.subscribe(lambda version: _tell(version, asks.namespace, question))
            try:
                while True:
                    line = render(await question.settled(self._told(asks), self.asking.until()))
                    if line is not None and line != sent:
                        sent = line
                        yield line
                    await question.changed()
            finally:
                unsubscribe()

    def _walk(self, asks: Asks) -> Callable[[], Binding]:
        return lambda: bind.bind(
            self._dtab(asks), asks.path, self.namers, self.state, self.options, exhaustive=asks.exhaustive
        )

    def _told(self, asks: Asks) -> Callable[[], Binding]:
        walk = self._walk(asks)

        def told() -> Binding:
            try:
                return walk()
            except DtabSyntaxError as error:
                raise Broken(f"what is stored does not read: {error}") from error

        return told

    def _dtab(self, asks: Asks) -> Dtab:
        """A namespace that is not there has an empty table, as with Linkerd."""
        version = None if asks.namespace is None else self.tables.get(asks.namespace)
        if version is None or version.content is None:
            return asks.local
        return _parsed(version.content.dtab, f"namespace {version.namespace}") + asks.local


@lru_cache(maxsize=256)
def _parsed(text: str, where: str) -> Dtab:
    return parse_dtab(text, where)


def _tell(version: Version, namespace: str | None, question: Question) -> None:
    if version.namespace == namespace:
        question.on_state()
