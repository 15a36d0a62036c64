"""YAML text -> plain values that remember where they stand.

Words mean what YAML 1.2's core schema says (`on`, `no` and `12:30` are text). Refused: duplicate keys, merge keys,
tags, several documents, and aliases that would grow beyond `MOST_VALUES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import yaml

Loc = tuple[str | int, ...]
Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

MOST_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Position:
    """Both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the YAML itself."""

    position: Position
    loc: Loc
    message: str
    hint: str


@dataclass(slots=True)
class Document:
    """`value` is None for an empty file. `keys` and `nodes` say where each key and each value stands."""

    text: str
    value: Value = None
    keys: dict[Loc, Position] = field(default_factory=dict)
    nodes: dict[Loc, yaml.Node] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def position(self, loc: Loc) -> Position:
        """Where the value at `loc` stands; where its nearest container does if there is no such value."""
        while loc and loc not in self.nodes:
            loc = loc[:-1]
        node = self.nodes.get(loc)
        return Position(1, 1) if node is None else _position(node.start_mark)

    def key_position(self, loc: Loc) -> Position:
        return self.keys.get(loc) or self.position(loc)

    def within(self, loc: Loc, offset: int) -> Position:
        """Where character `offset` of the text value at `loc` stands in the file, whatever way YAML wrote that text."""
        node = self.nodes.get(loc)
        if not isinstance(node, yaml.ScalarNode):
            return self.position(loc)
        index = _aligned(self.text, node, offset)
        return _position(node.start_mark) if index is None else at(self.text, index)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML declares it


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", [*"~nN", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    ("float", r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(rf"^{_pattern}$"), _first)


# Escapes can write what is no character (half of a surrogate pair) or what no file name can hold.
_UNFIT = re.compile("[\0\ud800-\udfff]")

_SCALARS: dict[str, Callable[[str], Value]] = {
    _TAG + "str": str,
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": lambda text: int(text, 0) if text[:2] in ("0o", "0x") else int(text),
    _TAG + "float": float,
}

_HINTS = (
    ("'\\t'", "Indent with spaces, not with tabs"),
    ("mapping values are not allowed", "Quote a value that holds ': ', and begin each key on a line of its own"),
    ("could not find expected ':'", "Each key needs a colon and a space: `key: value`"),
    ("expected <block end>", "Indent the keys of one section by the same number of spaces"),
    ("undefined alias", "Define the anchor before it is used, or write the value out"),
    ("found unexpected end of stream", "Close the quote or bracket that is open here"),
    ("single document", "Keep one document in the file: remove the `---` line"),
    ("special characters are not allowed", "Remove the control character"),
    ("'@'", "Quote a value that begins with @ or `"),
    ("cannot start any token", "Quote the value"),
)


def read(text: str) -> Document:
    document = Document(text)
    try:
        node = yaml.compose(text, _Loader)
    except yaml.reader.ReaderError as error:
        document.flaws.append(_unreadable(text, error))
    except yaml.MarkedYAMLError as error:
        document.flaws.append(_unparsable(error))
    except RecursionError:
        document.flaws.append(Flaw(Position(1, 1), (), "values nested too deeply", "Nest less deeply"))
    else:
        if node is not None:
            document.value = _Reading(document).value(node, ())
    return document


def at(text: str, index: int) -> Position:
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _position(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _code(character: int | str) -> int:
    # PyYAML's stubs say str; its reader passes a number for text and a byte for bytes.
    return character if isinstance(character, int) else ord(character)


def _unreadable(text: str, error: yaml.reader.ReaderError) -> Flaw:
    return Flaw(
        at(text, error.position),
        (),
        f"the character U+{_code(error.character):04X} is not allowed in YAML",
        "Remove it",
    )


def _unparsable(error: yaml.MarkedYAMLError) -> Flaw:
    mark = error.problem_mark or error.context_mark
    text = ", ".join(part for part in (error.context, error.problem) if part)
    hint = next((hint for part, hint in _HINTS if part in text), "Check indentation, quotes and brackets before here")
    return Flaw(_position(mark) if mark else Position(1, 1), (), f"this is not YAML: {text}", hint)


class _Reading:
    """One walk over the nodes; values that can't be used become None beside a flaw."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, loc: Loc) -> Value:
        self._document.nodes[loc] = node
        self._count += 1
        if id(node) in self._open:
            self._flaw(node, loc, "an alias that stands inside its own anchor", "Write the value out")
            return None
        if self._count > MOST_VALUES:
            if self._count == MOST_VALUES + 1:
                self._flaw(node, loc, f"more than {MOST_VALUES} values", "Write fewer values; aliases multiply them")
            return None
        self._open.add(id(node))
        try:
            return self._read(node, loc)
        finally:
            self._open.discard(id(node))

    def _read(self, node: yaml.Node, loc: Loc) -> Value:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return {key: self.value(value, (*loc, key)) for key, value in self._pairs(node, loc)}
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (found := _UNFIT.search(node.value)):
            self._flaw(node, loc, f"the character U+{ord(found[0]):04X} can't be part of a text", "Remove it")
            return None
        convert = _SCALARS.get(node.tag) if isinstance(node, yaml.ScalarNode) else None
        if convert is None:
            self._flaw(node, loc, f"the tag {node.tag.replace(_TAG, '!!')} is not read here", "Remove the tag")
            return None
        try:
            return convert(node.value)
        except ValueError:
            self._flaw(node, loc, f"{node.value[:20]!r} can't be read as a number", "Write a smaller number")
            return None

    def _pairs(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, Position] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or _UNFIT.search(name) or key.tag != _TAG + "str":
                self._flaw(key, loc, "a key is text", "Quote the key")
            elif name == "<<":
                self._flaw(key, loc, "merge keys (<<) are not read here", "Write the keys out")
            elif name in seen:
                earlier = seen[name].line
                self._flaw(key, (*loc, name), f"the key stands here and in line {earlier}", "Remove one of the two")
            else:
                seen[name] = self._document.keys[(*loc, name)] = _position(key.start_mark)
                yield name, value

    def _flaw(self, node: yaml.Node, loc: Loc, message: str, hint: str) -> None:
        self._document.flaws.append(Flaw(_position(node.start_mark), loc, message, hint))


def _aligned(text: str, node: yaml.ScalarNode, offset: int) -> int | None:
    """The index in `text` of character `offset` of the node's value: both agree but for blanks and quotes."""
    start, end = node.start_mark.index, node.end_mark.index
    if node.style in ("|", ">"):
        start = text.find("\n", start) + 1
    elif node.style in ("'", '"'):
        start, end = start + 1, end - 1
    raw = (index for index in range(start, end) if not text[index].isspace())
    following = start
    for position, character in enumerate(node.value):
        if character.isspace():
            if position >= offset:
                return following
            continue
        found = next(raw, None)
        if found is None or text[found] != character:
            return None
        if position >= offset:
            return found
        following = found + 1
    return following
