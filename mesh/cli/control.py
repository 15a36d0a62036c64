"""`tieline control`, `tieline control check`, `tieline control token`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.ending import NO, fail
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json, print_problems, problems

if TYPE_CHECKING:
    from mesh.control.load import Examined

ControlFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration [default: /etc/tieline/control.yaml].")
]
AgentNamespaces = Annotated[
    list[str] | None, typer.Option("--namespace", help="For --role agent: what it may have [default: any]. Repeatable.")
]


def commands() -> typer.Typer:
    group = typer.Typer(
        name="control",
        help="Run the control plane: one table for the fleet, previewed, versioned, never lost.",
        invoke_without_command=True,
        rich_markup_mode=None,
    )
    group.callback()(control)
    group.command()(check)
    group.command()(token)
    return group


def control(context: typer.Context, config: ControlFile = None) -> None:
    """Run the control plane, until it is told to end."""
    if context.invoked_subcommand is not None:
        return
    from mesh.control.load import examine
    from mesh.control.service import main

    examined = examine(_file(config))
    for warning in examined.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if examined.config is None:
        fail("\n".join(map(str, examined.errors)))
    sys.exit(main(examined.config))


def check(config: ControlFile = None, output: Output = Format.TABLE) -> None:
    """Say whether a configuration can be used, and each mistake in it with its line."""
    from mesh.control.load import examine

    file = _file(config)
    examined = examine(file)
    if output is Format.JSON:
        print_json(problems(examined))
    else:
        _print(file, examined)
    if examined.config is None:
        raise typer.Exit(NO)


def token(
    name: Annotated[str, typer.Argument(help="Who it is for: this name stands in the audit log.")],
    role: Annotated[str, typer.Option("--role", help="read, write or agent.")] = "read",
    namespace: AgentNamespaces = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a token: it is printed once, and its entry for the tokens_file, which holds no token."""
    from pydantic import ValidationError

    from mesh.control.grants import Token, digest, new_token

    made = new_token()
    entry: dict[str, object] = {"name": name, "role": role, "sha256": digest(made)}
    if namespace:
        entry["namespaces"] = list(namespace)
    try:
        Token.model_validate(entry)
    except ValidationError as error:
        fail("; ".join(f"{'.'.join(map(str, each['loc'])) or 'entry'}: {each['msg']}" for each in error.errors()), 2)
    if output is Format.JSON:
        print_json({"token": made, "entry": entry})
        return
    typer.echo(made)
    typer.echo(f"Its entry, for the list `tokens` of the tokens_file:\n  - {_inline(entry)}", err=True)


def _inline(entry: dict[str, object]) -> str:
    import yaml

    text: str = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()


def _file(config: Path | None) -> Path:
    from mesh.control.load import SYSTEM_FILE

    return config or SYSTEM_FILE


def _print(file: Path, examined: Examined) -> None:
    print_problems(examined)
    if examined.config is not None:
        store, sources = examined.config.kept_in.kind, len(examined.config.sources)
        typer.echo(f"{file}: ok (store: {store}, sources: {sources})")
