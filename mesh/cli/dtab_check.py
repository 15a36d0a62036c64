"""`tieline dtab check`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mesh.cli.answer import Answer, entries, text
from mesh.cli.changing import at, problem_lines
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json
from mesh.cli.table_file import SourcesOf, TableFile, configuration, read, shown, table

if TYPE_CHECKING:
    from mesh.config.model import Config
    from mesh.config.table import Remark
    from mesh.naming.dtab import Dtab


def check(plane: ControlPlane, file: TableFile, config: SourcesOf = None, output: Output = Format.TABLE) -> None:
    """Find mistakes in a table: syntax, circles, entries never used; with -c also sources that are not there.

    With --control, what the control plane knows: its sources, those of agents, and the names in use.
    """
    if plane.is_named:
        _asked(plane, file, output)
        return
    dtab = table(file)
    found = _remarks(dtab, configuration(config))
    ok = all(remark.level != "error" for remark in found)
    if output is Format.JSON:
        print_json({"ok": ok, "dentries": len(dtab), "remarks": [asdict(remark) for remark in found]})
    else:
        for remark in found:
            typer.echo(f"{shown(file)}:{remark.line}: {remark.level}: {remark.message}. {remark.hint}", err=True)
        if ok:
            typer.echo(f"{shown(file)}: ok (dentries: {len(dtab)})")
    if not ok:
        raise typer.Exit(NO)


def _asked(plane: ControlPlane, file: str, output: Format) -> None:
    answer = plane.send("POST", plane.within("lint"), body={"dtab": read(file)}).answer or Answer({})
    found = [each for each in entries(answer, "problems") if text(each, "where") == "dtab"]
    ok = all(text(each, "level") != "error" for each in found)
    if output is Format.JSON:
        print_json({"ok": ok, "remarks": found})
    else:
        for line in problem_lines(found, at(shown(file))):
            typer.echo(line, err=True)
        if ok:
            typer.echo(f"{shown(file)}: ok")
    if not ok:
        raise typer.Exit(NO)


def _remarks(dtab: Dtab, config: Config | None) -> list[Remark]:
    from mesh.config.table import Remark, remarks, unknown_sources

    found = remarks(dtab)
    if config is not None:
        roots = [source.root for source in config.sources]
        hint = f"Sources of the configuration: {', '.join(root.show() for root in roots) or 'none'}"
        found += [
            Remark("error", dentry.line, f"{path.show()} leads to no source", hint)
            for dentry, path in unknown_sources(dtab, roots)
        ]
    return sorted(found, key=lambda remark: remark.line)
