"""A world made up for `tieline dtab eval`: what platforms would say, as a file says or as is assumed. Pure.

    /#/consul/dc1/users: [10.0.0.1:8080, "10.0.0.2:8080 * 2"]
    /#/files/users: empty          # or neg, pending, failed

A path that the file does not have is `neg`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path, PathSyntaxError
from discovery.static.records import endpoint
from mesh.config import document
from mesh.config.document import Document, Position, Value
from mesh.naming.bind import Answer, AskState
from mesh.naming.trace import Missing
from mesh.naming.tree import BoundName, Leaf

# An address that documentation may use (RFC 5737): nobody takes it for a real one.
SOMEWHERE = Known(bound([Endpoint("192.0.2.1", 80)]), 0, 0)
WORDS: Mapping[str, State] = {
    "neg": Known(Neg(), 0, 0),
    "empty": Known(Bound(), 0, 0),
    "pending": Pending(),
    "failed": Failed("the file says so"),
}


class BadState(Exception):
    """The text says what is wrong and where."""


def states(text: str, file: str) -> dict[Path, State]:
    """Raises BadState."""
    read = document.read(text)
    for flaw in read.flaws:
        raise BadState(_at(file, flaw.position, f"{flaw.message}. {flaw.hint}"))
    if not isinstance(read.value, dict):
        raise BadState(_at(file, Position(1, 1), "`path: state` lines expected"))
    return {_path(read, file, key): _state(read, file, key, value) for key, value in read.value.items()}


def _path(read: Document, file: str, key: str) -> Path:
    try:
        return Path.parse(key)
    except PathSyntaxError as error:
        raise BadState(_at(file, read.key_position((key,)), str(error))) from error


def _state(read: Document, file: str, key: str, value: Value) -> State:
    if isinstance(value, str) and value in WORDS:
        return WORDS[value]
    if not isinstance(value, list):
        expected = f"{key}: {', '.join(WORDS)} or a list of `IP:port` expected"
        raise BadState(_at(file, read.position((key,)), expected))
    try:
        return Known(bound(endpoint(str(each)) for each in value), 0, 0)
    except ValueError as error:
        raise BadState(_at(file, read.position((key,)), f"{key}: {error}")) from error


def _at(file: str, position: Position, message: str) -> str:
    return f"{file}:{position.line}:{position.column}: {message}"


def asking(known: Mapping[Path, State] | None) -> AskState:
    """Without a file every name is assumed to be there; addresses written in the table always are."""

    def state(path: Path) -> State:
        if known is None or (path[:1] == ("$",) and path not in known):
            return SOMEWHERE
        return known.get(path, WORDS["neg"])

    return state


@dataclass(frozen=True, slots=True)
class AnySource:
    """Stands for every source at once where no configuration says which there are.

    A name is the longest path that the file has; else as long as names of that kind are, else the whole path.
    """

    known: Mapping[Path, State]
    segments: Mapping[str, int]

    @property
    def prefix(self) -> Path:
        return Path(("#",))

    def lookup(self, rest: Path, _state: AskState, /) -> Answer:
        path = self.prefix.then(rest)
        if len(rest) < 2:
            return Missing(f"{path.show()} names a source and nothing in it")
        length = next((end for end in range(len(path), 1, -1) if path.take(end) in self.known), None)
        length = length or min(len(path), 2 + self.segments.get(rest[0], len(path)))
        return Leaf(BoundName(path.take(length), path.drop(length)))
