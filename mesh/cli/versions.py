"""What the control plane holds of a namespace, read and changed over its API. Raises what its client raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mesh.cli.answer import Answer, count, entries, number, section, text
from mesh.cli.connection import Reply
from mesh.cli.control_client import ControlPlane, refusal


@dataclass(frozen=True, slots=True)
class Part:
    """One of the two texts of a version. `word`: what people call it; `group`: its commands."""

    key: Literal["dtab", "policies"]
    word: str
    group: str
    suffix: str

    def of(self, version: Version) -> str:
        return version.dtab if self.key == "dtab" else version.policies


DTAB: Final = Part("dtab", "table", "dtab", ".dtab")
POLICIES: Final = Part("policies", "policies", "policy", ".yaml")
PARTS: Final = (DTAB, POLICIES)


@dataclass(frozen=True, slots=True)
class Version:
    """A version. `exists` False: it is a deletion, or `number` is 0 and there is none."""

    namespace: str
    number: int
    etag: str
    at: float
    who: str
    why: str
    dtab: str
    policies: str
    exists: bool

    @property
    def shown(self) -> str:
        """For people: which one it is."""
        return f"version {self.number}" if self.exists else "nothing"

    @property
    def condition(self) -> dict[str, str]:
        """Header: only on top of this."""
        return {"if-match": f'"{self.etag}"'} if self.exists else {"if-none-match": "*"}


@dataclass(frozen=True, slots=True)
class Written:
    """What is to be in force. None: it stays."""

    dtab: str | None = None
    policies: str | None = None

    @classmethod
    def of(cls, part: Part, text: str) -> Written:
        return cls(text) if part is DTAB else cls(None, text)

    def changes(self, version: Version) -> bool:
        both = (self.dtab, version.dtab), (self.policies, version.policies)
        return not version.exists or any(new is not None and new != old for new, old in both)

    def body(self) -> dict[str, object]:
        both = (("dtab", self.dtab), ("policies", self.policies))
        return {key: text for key, text in both if text is not None}

    def text(self, part: Part) -> str | None:
        return self.dtab if part is DTAB else self.policies


def current(plane: ControlPlane, namespace: str | None = None) -> Version:
    """What is in force, nothing perhaps."""
    reply = plane.send("GET", plane.within(namespace=namespace), bears=(404,))
    name = namespace or plane.chosen_namespace
    if reply.status == 404:
        return Version(name, 0, "", 0, "", "", "", "", exists=False)
    return read(reply.answer or Answer({}))


def numbered(plane: ControlPlane, number: int) -> Version:
    return read(plane.ask(plane.within(), version=number))


def newest(plane: ControlPlane, limit: int, before: int | None = None) -> list[Version]:
    """Newest first."""
    return [read(each) for each in entries(plane.ask(plane.within("history"), limit=limit, before=before), "versions")]


def read(answer: Answer) -> Version:
    return Version(
        text(answer, "namespace"),
        count(answer, "version"),
        text(answer, "etag", ""),
        number(answer, "at") or 0,
        text(answer, "who"),
        text(answer, "why", ""),
        text(answer, "dtab", ""),
        text(answer, "policies", ""),
        exists=answer.get("dtab") is not None,
    )


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would happen. `problems`: errors in the texts, which are refused; then there is no preview."""

    preview: Answer
    problems: tuple[Answer, ...] = ()


def foresee(plane: ControlPlane, content: Written, namespace: str | None = None) -> Foreseen:
    reply = plane.send("POST", plane.within("preview", namespace=namespace), body=content.body(), bears=(400,))
    answer = reply.answer or Answer({})
    problems = tuple(entries(answer, "problems"))
    if reply.status == 400 and not problems:
        problems = (Answer({"level": "error", "message": refusal(reply)}),)
    return Foreseen(answer, problems)


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was made. `current`: somebody else was faster, and this is in force now."""

    reason: str
    current: Version | None = None


def put(plane: ControlPlane, expected: Version, content: Written, why: str, *, yes: bool) -> Version | Refused:
    """Made if `expected` is still in force."""
    body = {**content.body(), "why": why, "yes": yes}
    path = plane.within(namespace=expected.namespace)
    return _made(plane.send("PUT", path, body=body, headers=expected.condition, bears=(400, 409, 412)), expected)


def roll_back(plane: ControlPlane, expected: Version, to: int, why: str, *, yes: bool) -> Version | Refused:
    """A new version with the content of `to`."""
    body = {"to": to, "why": why, "yes": yes}
    path = plane.within("rollback", namespace=expected.namespace)
    return _made(plane.send("POST", path, body=body, headers=expected.condition, bears=(400, 404, 409, 412)), expected)


def delete(plane: ControlPlane, expected: Version, why: str, *, yes: bool) -> Version | Refused:
    """A new version that is the namespace's end."""
    query = {"why": why, "yes": "true" if yes else "false"}
    path = plane.within(namespace=expected.namespace)
    return _made(plane.send("DELETE", path, query=query, headers=expected.condition, bears=(404, 409, 412)), expected)


def _made(reply: Reply, expected: Version) -> Version | Refused:
    answer = reply.answer or Answer({})
    if reply.status < 400:
        return read(answer)
    if reply.status != 412:
        said = [text(problem, "message") for problem in entries(answer, "problems")]
        return Refused("; ".join([refusal(reply), *said]))
    now = section(answer, "current")
    theirs = read(now) if now else None
    who = f"{theirs.who} has made version {theirs.number}" if theirs else "the namespace is gone"
    return Refused(f"it was changed meanwhile: {who}, and this was made from {expected.shown}", theirs)
