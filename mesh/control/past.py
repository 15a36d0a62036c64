"""What the journal knows of a moment: the states of names then, and the versions in force; or that it is not known."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from discovery.address import Failed, Known, Pending, State
from discovery.path import Path
from mesh.agent.snapshot_rows import decode, encode
from mesh.control.journal_file import FORGOTTEN
from mesh.control.version import Content, Version

NOBODY = "null"
UNSTEADY = '{"unsteady":true}'


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Nothing can be said of that moment; the text says why."""

    reason: str


class Past:
    """Of one moment. Reads from the file as it is asked, so it belongs into a thread."""

    def __init__(self, database: sqlite3.Connection, began: float, moment: float) -> None:
        self._database, self._began, self.moment = database, began, moment

    def state(self, path: Path) -> State:
        """`Pending`, with the reason, of what the journal does not know."""
        row = self._database.execute(
            "select c.at, c.since, t.text from change c join name n on n.id = c.name join content t on t.id = c.content"
            " where n.path = ? and c.at between ? and ? order by c.at desc limit 1",
            (path.show(), self._began, self.moment),
        ).fetchone()
        if row is None or row[2] == NOBODY:
            return Pending("not known: nobody wanted it then, so it was not observed")
        at, since, text = row
        if text == UNSTEADY:
            return Pending(f"not known: from {shown(at)} on it changed too often for the journal")
        return read_state(text, since, self.moment)

    def version(self, namespace: str) -> Version | None:
        """None: the journal knows of no such namespace then."""
        row = self._database.execute(
            "select t.text from version v join content t on t.id = v.content"
            " where v.namespace = ? and v.at between ? and ? order by v.at desc limit 1",
            (namespace, self._began, self.moment),
        ).fetchone()
        return None if row is None else read_version(row[0])


def at(database: sqlite3.Connection, moment: float) -> Past | NotKnown:
    runs = database.execute("select began, heard, why from run order by began").fetchall()
    if not runs or moment < runs[0][0]:
        return NotKnown(
            f"not known: the journal begins at {shown(runs[0][0])}" if runs else "not known: there is no journal"
        )
    began, heard, _ = [run for run in runs if run[0] <= moment][-1]
    if moment <= heard:
        return Past(database, began, moment)
    following = next((run for run in runs if run[0] > moment), None)
    if following is None:
        return NotKnown(f"not known: the journal ends at {shown(heard)}")
    why = following[2] if following[2] != FORGOTTEN else "nothing is known"
    return NotKnown(f"not known: {why} from {shown(heard)} to {shown(following[0])}")


def shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_state(state: State | None) -> tuple[str, float]:
    """The text, in which equal content is equal, and since when it is so."""
    match state:
        case None:
            return NOBODY, 0.0
        case Known(addr, since=since, held=held, lost=lost):
            told = {"known": json.loads(encode(addr)), "held": held}
            return _text(told if lost is None else {**told, "lost": json.loads(encode(lost))}), since
        case Pending(reason):
            return _text({"pending": reason}), 0.0
        case Failed(reason):
            return _text({"failed": reason}), 0.0


def read_state(text: str, since: float, moment: float) -> State:
    """When it was last confirmed is not kept: what is not held was fresh; what is, was true when it began."""
    told = json.loads(text)
    if "pending" in told:
        return Pending(told["pending"])
    if "failed" in told:
        return Failed(str(told["failed"]))
    lost = decode(json.dumps(told["lost"])) if "lost" in told else None
    confirmed_at = moment if told["held"] is None else since
    return Known(decode(json.dumps(told["known"])), since, confirmed_at, told["held"], lost)


def write_version(version: Version) -> str:
    content = version.content
    told = [version.namespace, version.number, version.at, version.who, version.why]
    return _text([*told, None if content is None else [content.dtab, content.policies]])


def read_version(text: str) -> Version:
    namespace, number, moment, who, why, content = json.loads(text)
    return Version(namespace, number, moment, who, why, None if content is None else Content(*content))


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
