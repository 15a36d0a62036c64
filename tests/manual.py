"""The manual as a program: its code blocks with what the comment before each says, its tables, its links.

<!-- write: FILE -->      the block is written to FILE
<!-- not run: REASON -->  the block can't be run here
<!-- ends with N -->      the block's last command ends with N, not with 0
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<said>[^\n]*) -->\n *)?```(?P<kind>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    kind: str
    said: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def target(self) -> str | None:
        """The file it is written to."""
        return self._after("write: ")

    @property
    def not_run(self) -> str | None:
        return self._after("not run: ")

    @property
    def ends_with(self) -> int:
        return int(self._after("ends with ") or 0)

    def _after(self, word: str) -> str | None:
        return self.said.removeprefix(word) if self.said.startswith(word) else None


@dataclass(frozen=True, slots=True)
class Command:
    line: str
    output: tuple[str, ...]
    """What the manual shows; empty: nothing is compared."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = _BLOCK.finditer(text)
    return [Block(page, text.count("\n", 0, b.start("text")), b["kind"], b["said"] or "", _outdented(b)) for b in found]


def _outdented(found: re.Match[str]) -> str:
    indent = len(found["indent"])
    return "".join(f"{line[indent:]}\n" for line in found["text"].splitlines())


def commands(block: Block) -> list[Command]:
    """`sh`: every line is a command; `console`: those after `$ `, with what they print."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.kind == "sh":
        return [Command(line, ()) for line in lines if line and not line.startswith("#")]
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:], ()))
        else:
            found[-1] = Command(found[-1].line, (*found[-1].output, line))
    return found


def tables(page: Path, heading: str) -> Iterator[list[str]]:
    """The rows below every table head that reads `heading`, as cells."""
    inside = False
    for line in page.read_text().splitlines():
        if line == heading:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("| ---"):
            yield [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]


def code(cell: str) -> str:
    """The first `code` in a cell, else the cell."""
    found = re.search(r"`([^`]+)`", cell)
    return found[1] if found else cell


def links(page: Path) -> list[str]:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return _LINK.findall(prose)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
