"""Namers: what a configured prefix (`/#/consul`) does with the path after it."""

from __future__ import annotations

from dataclasses import dataclass, field

from discovery.address import Bound, Failed, Known, Pending
from discovery.path import Path, PathSyntaxError
from mesh.naming.bind import Answer, AskState, Broken, Waiting
from mesh.naming.pattern import Pattern
from mesh.naming.trace import Missing
from mesh.naming.tree import BoundName, Leaf


@dataclass(frozen=True, slots=True)
class SourceNamer:
    """The first `segments` after the prefix name one thing that a source observes; the others are residual.

    `fewest`: where the last of them may be left away, how many there must be.
    """

    prefix: Path
    segments: int
    fewest: int | None = None

    def lookup(self, rest: Path, state: AskState, /) -> Answer:
        fewest = self.fewest or self.segments
        if len(rest) < fewest:
            count = f"{fewest} to {self.segments}" if fewest < self.segments else f"{fewest}"
            plural = "s" * (self.segments != 1)
            return Missing(f"{self.prefix.show()} takes {count} segment{plural}, not {len(rest)}")
        return Leaf(BoundName(self.prefix.then(rest[: self.segments]), rest.drop(self.segments)))


@dataclass(frozen=True, slots=True)
class LongestNamer:
    """The longest name that exists wins, the others are residual. At most `deepest` segments are tried.

    A shorter name is used only when every longer one is known not to exist.
    """

    prefix: Path
    deepest: int = 8

    def lookup(self, rest: Path, state: AskState, /) -> Answer:
        lengths = range(min(len(rest), self.deepest), 0, -1)
        names = [BoundName(self.prefix.then(rest[:length]), rest.drop(length)) for length in lengths]
        # All are asked for at once, so that the answers do not come one after the other.
        states = [state(name.id) for name in names]
        unanswered: BoundName | None = None
        for name, known in zip(names, states, strict=True):
            match known:
                case Known(Bound()):
                    return Leaf(name)
                case Pending(reason):
                    text = f"{name.id.show()} has not answered yet{f' ({reason})' if reason else ''}"
                    return Waiting(frozenset((name.id,)), text)
                case Failed():
                    unanswered = unanswered or name
        return Leaf(unanswered) if unanswered else Missing("no such name")


def source_namer(prefix: Path, segments: int, fewest: int, *, longest: bool) -> SourceNamer | LongestNamer:
    return LongestNamer(prefix, segments) if longest else SourceNamer(prefix, segments, fewest)


@dataclass(frozen=True, slots=True)
class RewriteNamer:
    """Linkerd's `io.l5d.rewrite`: `name`, filled with what `pattern` captured; what is left of the path is dropped."""

    prefix: Path
    pattern: str
    name: str
    _pattern: Pattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", Pattern(self.pattern))

    def lookup(self, rest: Path, state: AskState, /) -> Answer:
        try:
            path = self._pattern.rewrite(rest, self.name)
        except PathSyntaxError as error:
            return Broken("namer_failed", f"{self.pattern} -> {self.name} makes no path of {rest.show()}: {error}")
        return Missing(f"{rest.show()} does not match {self.pattern}") if path is None else Leaf(path)
