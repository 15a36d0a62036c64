"""What holds for a name and for what it leads to, with who said so: for `explain`."""

from __future__ import annotations

from discovery.path import Path
from mesh.config.fields import Labels, Section
from mesh.policy.effective import Policies, Said
from mesh.policy.headers import Headers
from mesh.policy.settings import is_of_bound_names

Row = dict[str, object]


def of_name(policies: Policies, path: Path) -> list[Row]:
    """Every key; those that an entry set come first."""
    return [_row(said) for said in policies.said(path)]


def of_bound(policies: Policies, path: Path, id: Path) -> list[Row]:
    """What holds for this bound name in another way than for the name as a whole."""
    whole = {said.key: said for said in policies.said(path)}
    return [_row(said) for said in policies.said(path, id) if is_of_bound_names(said.key) and _differs(said, whole)]


def _differs(said: Said, whole: dict[str, Said]) -> bool:
    other = whole.get(said.key)
    return other is None or (other.value, other.entry) != (said.value, said.entry)


def _row(said: Said) -> Row:
    row: Row = {"key": said.key, "value": _plain(said.value), "match": None, "where": None, "line": None}
    if said.entry is not None:
        row |= {"match": said.entry.match, "where": said.entry.where, "line": _line(said)}
    return row


def _line(said: Said) -> int | None:
    """Of the key; of its section where that was written as a whole."""
    lines = said.entry.lines if said.entry else {}
    key = said.key
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key)


def _plain(value: object) -> object:
    match value:
        case Section():
            return value.model_dump(mode="json", exclude_unset=True)
        case Labels():
            return dict(value)
        case Headers():
            return dict.fromkeys((name for name, _ in value), "***")
        case tuple() | list():
            return [_plain(each) for each in value]
        case _:
            return value
