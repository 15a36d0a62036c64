"""`tieline dtab` and `tieline policy`"""

from __future__ import annotations

import typer

from mesh.cli import content_commands, content_edit, dtab_check, dtab_eval, dtab_sign, namespaces, rollback
from mesh.cli.control_client import on_control_plane
from mesh.cli.versions import DTAB, POLICIES, Part


def commands() -> typer.Typer:
    group = typer.Typer(name="dtab", help="Delegation tables.", no_args_is_help=True, rich_markup_mode=None)
    group.command(name="check")(on_control_plane(dtab_check.check))
    group.command(name="eval")(dtab_eval.evaluate)
    group.command(name="sign")(dtab_sign.sign)
    _add(group, DTAB)
    group.command(name="rollback")(on_control_plane(rollback.rollback))
    group.command(name="list")(on_control_plane(namespaces.list_all))
    group.command(name="delete")(on_control_plane(namespaces.delete))
    return group


def policy_commands() -> typer.Typer:
    summary = "The policies of the control plane."
    group = typer.Typer(name="policy", help=summary, no_args_is_help=True, rich_markup_mode=None)
    _add(group, POLICIES)
    return group


def _add(group: typer.Typer, part: Part) -> None:
    group.command(name="get")(on_control_plane(content_commands.get, part=part))
    group.command(name="set")(on_control_plane(content_commands.put, part=part))
    group.command(name="edit")(on_control_plane(content_edit.edit, part=part))
    group.command(name="diff")(on_control_plane(content_commands.diff, part=part))
    group.command(name="history")(on_control_plane(content_commands.history))
