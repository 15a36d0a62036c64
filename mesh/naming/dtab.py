r"""The delegation table: rules that say where a name leads. Its grammar:

    dtab     := [ dentry ( ';' dentry )* [ ';' ] ]
    dentry   := prefix '=>' tree
    prefix   := '/' [ element ( '/' element )* ]        element := label | '*'
    path     := '/' [ label ( '/' label )* ]
    label    := 1+ of [0-9A-Za-z_:.#$%-] or '\x' hex hex
    tree     := union ( '|' union )*
    union    := weighted ( '&' weighted )*              '&' binds tighter than '|'
    weighted := [ number '*' ] simple                   number: digits with at most one '.', not '.' alone
    simple   := '(' tree ')' | path | '!' | '~' | '$'

Whitespace, newlines included, may stand between any two of these but not inside a path or a prefix; so may a comment,
'#' to the end of the line. A '#' stuck to a label belongs to it. A weight outside a union is read and dropped.
Parentheses nest at most MAX_NESTING deep, so that no text can exhaust the stack (Finagle has no such limit).
One lookup of a path:

1. Every dentry whose prefix matches gives its tree, with the rest of the path appended to each leaf. `*` in a prefix
   matches exactly one segment; `/` matches everything.
2. No match is `~`, one match is that tree, several are alternatives, the latest dentry first.

The order is the only criterion: a longer prefix has no precedence.
Source: Finagle, com.twitter.finagle.Dtab and NameTreeParsers.

>>> parse_dtab("/svc => 9 * /a & /b | ~ ; # a comment").show()
'/svc=>9.00*/a & /b | ~'
>>> parse_dtab("/svc => /a; /svc/users => /b").lookup(Path.parse("/svc/users/x")) == parse_tree("/b/x | /a/users/x")
True
>>> parse_tree("/a & b")
Traceback (most recent call last):
mesh.naming.dtab.DtabSyntaxError: line 1, column 6: '(', a path, '!', '~' or '$' expected but 'b' found at '/a & [b]'
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from discovery.path import LABEL, Path, PathSyntaxError, decode_label
from mesh.naming.prefix import WILDCARD, Element, Index, Prefix
from mesh.naming.show import show_prefix, show_tree
from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Neg, Union, Weighted

MAX_NESTING = 64

# Java's whitespace: no-break spaces and NEL are none.
_SPACE = re.compile(r"(?:[^\S\u00a0\u2007\u202f\x85]++|#[^\n]*+)*+")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]*")
_WRITTEN: dict[str, NameTree[Path]] = {"!": Fail(), "~": Neg(), "$": Empty()}
_NUMBER_STARTS = frozenset("0123456789.")
_QUOTED = 60
_LABEL = "a label ([0-9A-Za-z_:.#$%-] or \\xHH)"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dentry:
    """`line` and `where` (the table's name) say where it was written; they are no part of its value."""

    prefix: Prefix
    tree: NameTree[Path]
    line: int = field(default=0, compare=False)
    where: str = field(default="", compare=False)

    def show(self) -> str:
        return f"{show_prefix(self.prefix)}=>{show_tree(self.tree)}"


class Dtab:
    """A frozen value. `base + local` is the table in which `local` wins; it shares the indexes of both."""

    __slots__ = ("_indexes", "dentries")

    def __init__(self, dentries: Iterable[Dentry] = ()) -> None:
        self.dentries = tuple(dentries)
        self._indexes: tuple[Index[Dentry], ...] = ()
        if self.dentries:
            self._indexes = (Index((dentry.prefix, dentry) for dentry in self.dentries),)

    def __add__(self, later: Dtab) -> Dtab:
        both = Dtab()
        both.dentries = self.dentries + later.dentries
        both._indexes = self._indexes + later._indexes
        return both

    def scan(self, path: tuple[str, ...]) -> tuple[list[Dentry], int]:
        """The dentries that match, the latest first, and what finding them cost."""
        if len(self._indexes) == 1:
            return self._indexes[0].scan(path)
        found: list[Dentry] = []
        cost = 0
        for index in reversed(self._indexes):
            some, visited = index.scan(path)
            found += some
            cost += visited
        return found, cost

    def lookup(self, path: Path) -> NameTree[Path]:
        """One step: what `path` is rewritten to."""
        found, _ = self.scan(path)
        trees = [append(dentry.tree, path[len(dentry.prefix) :]) for dentry in found]
        if len(trees) > 1:
            return Alt(tuple(trees))
        return trees[0] if trees else Neg()

    def show(self, separator: str = ";") -> str:
        return separator.join(dentry.show() for dentry in self.dentries)

    def __len__(self) -> int:
        return len(self.dentries)

    def __iter__(self) -> Iterator[Dentry]:
        return iter(self.dentries)

    def __eq__(self, other: object) -> bool:
        return self.dentries == other.dentries if isinstance(other, Dtab) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.dentries)

    def __repr__(self) -> str:
        return f"Dtab({self.show()!r})"


def append(tree: NameTree[Path], rest: tuple[str, ...]) -> NameTree[Path]:
    match tree:
        case Leaf(path):
            return Leaf(path.then(rest))
        case Alt(trees):
            return Alt(tuple(append(each, rest) for each in trees))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, append(branch.tree, rest)) for branch in branches))
        case _:
            return tree


class DtabSyntaxError(ValueError):
    """`text` does not read; at `position` something else was `expected`. `where` names the table."""

    def __init__(self, text: str, position: int, expected: str, where: str = "") -> None:
        super().__init__(text, position, expected, where)
        self.text, self.position, self.expected, self.where = text, position, expected, where

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.position) + 1

    @property
    def column(self) -> int:
        return self.position - self._line_start + 1

    @property
    def _line_start(self) -> int:
        return self.text.rfind("\n", 0, self.position) + 1

    def __str__(self) -> str:
        at_end = self.position >= len(self.text)
        found = "the end of the text" if at_end else f"{self.text[self.position]!r}"
        place = f"{self.where}, line {self.line}" if self.where else f"line {self.line}"
        return f"{place}, column {self.column}: {self.expected} expected but {found} found at '{self._quote()}'"

    def _quote(self) -> str:
        """The line, the offending character in brackets; of a long line only what is near."""
        start, at = self._line_start, self.position
        end = self.text.find("\n", at + 1)
        end = len(self.text) if end < 0 else end
        before = self.text[max(start, at - _QUOTED) : at]
        after = self.text[at + 1 : min(end, at + 1 + _QUOTED)]
        cut_before, cut_after = at - _QUOTED > start, at + 1 + _QUOTED < end
        return f"{'…' * cut_before}{before}[{self.text[at : at + 1]}]{after}{'…' * cut_after}"


def parse_dtab(text: str, where: str = "") -> Dtab:
    """Raises DtabSyntaxError. `where` names the table in errors and in explanations ("header l5d-dtab")."""
    return _whole(text, where, lambda parser: parser.dtab())


def parse_tree(text: str) -> NameTree[Path]:
    """Raises DtabSyntaxError."""
    return _whole(text, "", lambda parser: parser.tree(0))


def parse_path(text: str) -> Path:
    """As Finagle reads one: whitespace and comments may surround it. Raises DtabSyntaxError."""
    return _whole(text, "", lambda parser: parser.path())


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each dentry begins and ends in its text, and whether a `;` stands behind the last."""

    spans: tuple[tuple[int, int], ...]
    is_closed: bool


def layout(text: str) -> Layout:
    """For who changes a table and keeps what else is written there. Raises DtabSyntaxError."""

    def read(parser: _Parser) -> Layout:
        parser.dtab()
        return Layout(tuple(parser.spans), parser.is_closed)

    return _whole(text, "", read)


def _whole(text: str, where: str, read: Callable[[_Parser], T]) -> T:
    parser = _Parser(text, where)
    value = read(parser)
    parser.space()
    if parser.at < len(text):
        raise parser.wrong(parser.expected)
    return value


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.at = text, where, 0
        self.counted, self.line = 0, 1
        self.expected = "the end of the text"
        self.spans: list[tuple[int, int]] = []
        self.end, self.is_closed = 0, True

    def wrong(self, expected: str) -> DtabSyntaxError:
        return DtabSyntaxError(self.text, self.at, expected, self.where)

    def space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        if found is not None:
            self.at = found.end()

    def ate(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def dtab(self) -> Dtab:
        dentries = []
        self.expected = "';' or the end of the table"
        while True:
            self.space()
            if self.at == len(self.text):
                break
            start = self.at
            dentries.append(self.dentry())
            self.spans.append((start, self.end))
            self.space()
            self.is_closed = self.ate(";")
            if not self.is_closed:
                break
        return Dtab(dentries)

    def dentry(self) -> Dentry:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted, line = self.at, self.line
        prefix = self.prefix()
        self.space()
        if not self.ate("=>"):
            raise self.wrong("'=>'")
        return Dentry(prefix, self.tree(0), line, self.where)

    def prefix(self) -> Prefix:
        if not self.ate("/"):
            raise self.wrong("'/'")
        if not self.text.startswith("*", self.at) and LABEL.match(self.text, self.at) is None:
            return ()
        elements = [self.element()]
        while self.ate("/"):
            elements.append(self.element())
        return tuple(elements)

    def element(self) -> Element:
        if self.ate("*"):
            return WILDCARD
        found = LABEL.match(self.text, self.at)
        if found is None:
            raise self.wrong(f"'*' or {_LABEL}")
        self.at = found.end()
        return decode_label(found[0])

    def tree(self, nesting: int) -> NameTree[Path]:
        trees = [self.union(nesting)]
        while self.ate("|"):
            trees.append(self.union(nesting))
        return trees[0] if len(trees) == 1 else Alt(tuple(trees))

    def union(self, nesting: int) -> NameTree[Path]:
        branches = [self.weighted(nesting)]
        self.space()
        while self.ate("&"):
            branches.append(self.weighted(nesting))
            self.space()
        return branches[0].tree if len(branches) == 1 else Union(tuple(branches))

    def weighted(self, nesting: int) -> Weighted[Path]:
        self.space()
        weight = 1.0
        if self.text[self.at : self.at + 1] in _NUMBER_STARTS:
            weight = self.number()
            self.space()
            if not self.ate("*"):
                raise self.wrong("'*'")
            self.space()
        simple = self.simple(nesting)
        self.end = self.at
        return Weighted(weight, simple)

    def number(self) -> float:
        found = _NUMBER.match(self.text, self.at)
        if found is None or found[0] == ".":
            raise self.wrong("a number")
        weight = float(found[0])
        if not math.isfinite(weight):
            raise self.wrong("a weight that is not too large")
        self.at = found.end()
        return weight

    def simple(self, nesting: int) -> NameTree[Path]:
        character = self.text[self.at : self.at + 1]
        if character == "/":
            return Leaf(self.path())
        if character == "(":
            return self.parenthesised(nesting + 1)
        if character in _WRITTEN:
            self.at += 1
            return _WRITTEN[character]
        raise self.wrong("'(', a path, '!', '~' or '$'")

    def parenthesised(self, nesting: int) -> NameTree[Path]:
        if nesting > MAX_NESTING:
            raise self.wrong(f"a tree with at most {MAX_NESTING} nested parentheses")
        self.at += 1
        tree = self.tree(nesting)
        if not self.ate(")"):
            raise self.wrong("')', '|' or '&'")
        return tree

    def path(self) -> Path:
        self.space()
        try:
            path, self.at = Path.scan(self.text, self.at)
        except PathSyntaxError as error:
            raise DtabSyntaxError(self.text, error.position, error.expected, self.where) from None
        return path
