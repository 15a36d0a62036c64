"""The file that says who may do what: tokens by their hash, clients by the name in their certificate.

    tokens:
      - {name: ci, role: write, sha256: 6ee0eb490ff832101cf82a3d387c35f29e4230be786978f7acf9e811febf6723}
      - {name: host7, role: agent, sha256: …, namespaces: [default]}
    certificates:
      - {name: host8.example.org, role: agent}

A token itself stands nowhere. Two entries of one name are both good, so that a token can be replaced without a gap.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mesh.config import document, reading
from mesh.config.fields import Section
from mesh.config.problem import Problem
from mesh.config.report import Report
from mesh.config.sections import Sections
from mesh.control.store.protocol import NAMESPACE

TOKEN_BYTES = 32
PREFIX = "tieline_"
"""How tokens begin, so that scanners of secrets know one."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NAMESPACE = re.compile(NAMESPACE)


class Role(StrEnum):
    """`write` may all that `read` may. `agent` may open the agents' stream and nothing else."""

    READ = "read"
    WRITE = "write"
    AGENT = "agent"


def _hash(value: object) -> object:
    # Says nothing of what stands there: it may be the token itself.
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("the SHA-256 of a token expected, 64 hexadecimal digits in small letters")
    return value


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(f"the name of a namespace expected (letters, digits, - and _), not {text!r}")
    return text


class Entry(Section):
    name: str = Field(min_length=1, max_length=300, examples=["ci"])
    """Who it is: this name stands in the audit log."""
    role: Role = Field(examples=["write"])
    """`read`, `write` or `agent`."""
    namespaces: tuple[Annotated[str, AfterValidator(_namespace)], ...] | None = Field(default=None, min_length=1)
    """Of an agent: whose tables and names it may have. null: any."""

    @model_validator(mode="after")
    def _of_agents(self) -> Self:
        if self.namespaces is not None and self.role is not Role.AGENT:
            raise ValueError("`namespaces` is for `role: agent` only")
        return self


class Token(Entry):
    sha256: Annotated[str, BeforeValidator(_hash)] = Field(examples=["6ee0eb49…"])
    """Of the token, in hexadecimal."""


class Grants(Section):
    tokens: tuple[Token, ...] = Field(default=())
    """Callers that send a token."""
    certificates: tuple[Entry, ...] = Field(default=())
    """Callers that show a certificate: `name` is a URI or DNS name in it, else its common name."""


@dataclass(frozen=True, slots=True)
class Examined:
    """`grants` is None exactly if there are `problems`."""

    grants: Grants | None
    problems: tuple[Problem, ...] = ()


def examine(file: pathlib.Path) -> Examined:
    try:
        read = document.read(reading.text(file))
    except reading.Unreadable as error:
        return Examined(None, (error.problem,))
    report = Report(str(file), read)
    report.flaws()
    sections = Sections(file.parent, read, report)
    keys = sections.keys(Grants)
    grants = None if keys is None else sections.validated(Grants, keys, ())
    problems = tuple(report.problems)
    return Examined(None if problems else grants, problems)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
