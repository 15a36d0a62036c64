"""Reads JSON that another process wrote: strict about what is needed, with the key in every error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from discovery.path import Path, PathSyntaxError

_SHOWN = 60
"""Characters of a wrong value."""


class BadFrame(ValueError):
    """`key`: where in the frame, `state.known[2].port`. The text says what was expected there."""

    def __init__(self, key: str, wrong: str) -> None:
        self.key, self.wrong = key, wrong
        super().__init__(key, wrong)

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}" if self.key else self.wrong


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object, and the key it stands at. A default is for what may be left away."""

    values: Mapping[str, object]
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            return cls.of(json.loads(text, parse_constant=_no_number, parse_float=_finite), "")
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadFrame("", f"no JSON: {error}") from error

    @classmethod
    def of(cls, value: object, key: str) -> Self:
        if not isinstance(value, dict):
            raise expected("an object", value, key)
        return cls(value, key)

    def at(self, key: str) -> str:
        return f"{self.key}.{key}" if self.key else key

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise expected("a text", value, self.at(key))
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise expected("a number", value, self.at(key))
        return float(value)

    def number_or_none(self, key: str) -> float | None:
        return None if self.values.get(key) is None else self.number(key)

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise expected("a whole number", value, self.at(key))
        return value

    def whole_or_none(self, key: str) -> int | None:
        return None if self.values.get(key) is None else self.whole(key)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise expected("true or false", value, self.at(key))
        return value

    def path(self, key: str) -> Path:
        return path(self.text(key), self.at(key))

    def fields(self, key: str) -> Fields:
        return Fields.of(self.values.get(key), self.at(key))

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(_text(value, at) for value, at in _listed(self.values.get(key), self.at(key)))

    def rows(self, key: str) -> Iterator[Fields]:
        return (Fields.of(value, at) for value, at in _listed(self.values.get(key), self.at(key)))


def _finite(text: str) -> float:
    """Larger than a float can be is infinite to Python, and no JSON when it is told again."""
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise BadFrame("", f"no JSON: {text[:_SHOWN]} is no number")


def path(text: str, key: str) -> Path:
    try:
        return Path.parse(text)
    except PathSyntaxError as error:
        raise BadFrame(key, str(error)) from error


def expected(what: str, found: object, key: str) -> BadFrame:
    shown = json.dumps(found, default=str)
    return BadFrame(key, f"{what} expected, not {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}")


def _listed(value: object, key: str) -> Iterator[tuple[object, str]]:
    if not isinstance(value, list):
        raise expected("a list", value, key)
    return ((each, f"{key}[{index}]") for index, each in enumerate(value))


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise expected("a text", value, key)
    return value
