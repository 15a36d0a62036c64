"""Which objects a request is about: namespace, `labelSelector`, `fieldSelector`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
SET = re.compile(rf"(?P<key>{KEY})\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
EQUAL = re.compile(rf"(?P<key>{KEY})\s*(?P<sign>==|!=|=)\s*(?P<value>[-A-Za-z0-9_.]*)")
EXISTS = re.compile(rf"(?P<absent>!?)\s*(?P<key>{KEY})")
COMMA = re.compile(r",(?![^()]*\))")
FIELDS = ("metadata.name", "metadata.namespace")


class Unparsable(ValueError):
    """The selector is not one, or names a field that can't be selected by."""


@dataclass(frozen=True, slots=True)
class Selection:
    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    @property
    def selects(self) -> bool:
        return bool(self.labels or self.fields)

    def has(self, namespace: str, name: str, labels: Labels) -> bool:
        if self.namespace and namespace != self.namespace:
            return False
        if not all(requirement(labels) for requirement in self.labels):
            return False
        named = {"metadata.name": name, "metadata.namespace": namespace} if self.fields else {}
        return all(requirement(named) for requirement in self.fields)


def selection(namespace: str, label_selector: str, field_selector: str) -> Selection:
    labels = tuple(_label(part.strip()) for part in _parts(label_selector))
    return Selection(namespace, labels, tuple(_field(part.strip()) for part in _parts(field_selector)))


def _parts(selector: str) -> list[str]:
    return COMMA.split(selector) if selector.strip() else []


def _label(text: str) -> Requirement:
    if found := SET.fullmatch(text):
        values, wanted = {value.strip() for value in found["values"].split(",")}, found["word"] == "in"
        return _one_of(found["key"], values, wanted)
    if found := EQUAL.fullmatch(text):
        return _one_of(found["key"], {found["value"]}, found["sign"] != "!=")
    if found := EXISTS.fullmatch(text):
        key, absent = found["key"], bool(found["absent"])
        return lambda labels: (key in labels) is not absent
    raise Unparsable(f"unable to parse requirement: {text!r}")


def _field(text: str) -> Requirement:
    found = EQUAL.fullmatch(text)
    if found is None:
        raise Unparsable(f"invalid selector: {text!r}; can't understand {text!r}")
    if found["key"] not in FIELDS:
        raise Unparsable(f"field label not supported: {found['key']}")
    return _one_of(found["key"], {found["value"]}, found["sign"] != "!=")


def _one_of(key: str, values: set[str], wanted: bool) -> Requirement:
    # An object without the key passes `!=` and `notin`.
    return lambda labels: (key in labels and labels[key] in values) is wanted
