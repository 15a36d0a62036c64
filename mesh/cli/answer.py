"""Reads the agent's JSON: what is missing or of another type is absent, so that an older agent can be asked too."""

from __future__ import annotations

from typing import NewType, cast

Answer = NewType("Answer", dict[str, object])


def text(answer: Answer, key: str, otherwise: str = "-") -> str:
    value = answer.get(key)
    return otherwise if value is None or value == "" else str(value)


def number(answer: Answer, key: str) -> float | None:
    value = answer.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def count(answer: Answer, key: str) -> int:
    return int(number(answer, key) or 0)


def yes(answer: Answer, key: str) -> bool:
    return answer.get(key) is True


def section(answer: Answer, key: str) -> Answer:
    value = answer.get(key)
    return cast("Answer", value) if isinstance(value, dict) else Answer({})


def entries(answer: Answer, key: str) -> list[Answer]:
    value = answer.get(key)
    return [cast("Answer", entry) for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def texts(answer: Answer, key: str) -> list[str]:
    value = answer.get(key)
    return [str(entry) for entry in value] if isinstance(value, list) else []
