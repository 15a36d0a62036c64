"""`tieline dtab edit` and `tieline policy edit`"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import typer

from mesh.cli import versions
from mesh.cli.changing import Changing, DryRun, Outcome, Result, Why, Yes, at, say
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO, fail
from mesh.cli.options import Format
from mesh.cli.table_file import read
from mesh.cli.versions import Part, Version, Written


def edit(plane: ControlPlane, part: Part, why: Why = "", yes: Yes = False, dry_run: DryRun = False) -> None:
    """Change what is in force with your editor ($VISUAL, else $EDITOR)."""
    before = versions.current(plane)
    changing = Changing(plane, Format.TABLE, yes, dry_run)
    file, is_done = _written(part, part.of(before)), False
    try:
        outcome = _edited(changing, before, part, file, why)
        say(outcome)
        is_done = outcome.result is not Result.REFUSED and not dry_run
    finally:  # However it ends, also if the control plane is gone by now: the text is not lost.
        if is_done:
            file.unlink()
        else:
            typer.echo(f"Your text is in {file}; `tieline {part.group} set {file}` tries again", err=True)
    if outcome.result is Result.REFUSED:
        raise typer.Exit(NO)


def _edited(changing: Changing, before: Version, part: Part, file: Path, why: str) -> Outcome:
    """A text that is refused may be edited again, until it is given up."""
    while True:
        _open(file)
        text = read(str(file))
        if text.rstrip("\n") == part.of(before).rstrip("\n"):  # Editors end the last line.
            return Outcome(before.namespace, Result.UNCHANGED, before.number)
        content = Written.of(part, text)
        outcome = changing.foresee(before, content, at(str(file)), "yours")
        outcome = changing.make(before, content, why, outcome)
        again = outcome.result is Result.REFUSED and outcome.current is None and changing.asks
        if not again:
            return outcome
        say(outcome)
        if not typer.confirm("Edit it again?", default=True):
            return outcome


def _open(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)
    except (OSError, ValueError) as error:
        fail(f"the editor {editor!r} can't be started: {error}. Set $EDITOR")
    if done.returncode != 0:
        fail(f"the editor {editor!r} ended with {done.returncode}; nothing was changed")


def _written(part: Part, text: str) -> Path:
    try:
        number, name = tempfile.mkstemp(prefix="tieline-", suffix=part.suffix)
        with os.fdopen(number, "w") as file:
            file.write(text)
    except OSError as error:
        fail(f"no file for the editor can be made: {error}. Set $TMPDIR to a folder with room")
    return Path(name)
