"""`tieline ca`: an authority in a folder, and the certificates that it issues."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mesh.cli.ending import fail
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json, show

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rich.table import Table

    from mesh.identity.authority import Signer
    from mesh.identity.folder import Authority

PASSPHRASE = "TIELINE_CA_PASSPHRASE"  # noqa: S105 - the name of a variable

Folder = Annotated[Path, typer.Argument(help="The authority's folder.", show_default=False)]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"Locks its keys; else ${PASSPHRASE} does; else they are not locked."),
]
Kind = Annotated[Literal["host", "service"], typer.Argument(help="Whose: of a host, or of a service.")]
Step = Annotated[Literal["prepare", "activate", "retire"], typer.Argument(help="The next step.")]


def commands() -> typer.Typer:
    group = typer.Typer(
        name="ca", help="An authority for certificates, in files.", no_args_is_help=True, rich_markup_mode=None
    )
    for command in (init, issue, renew, rotate):
        group.command()(command)
    group.command(name="show")(show_it)
    return group


def init(
    folder: Folder,
    trust_domain: Annotated[str, typer.Option("--trust-domain", "-d", help="Whose ids it signs: example.org.")],
    root: Annotated[Path | None, typer.Option("--root", help="A root of your own, PEM [default: one is made].")] = None,
    root_key: Annotated[Path | None, typer.Option("--root-key", help="Its key. It is used, and not kept.")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make an authority: a root and an intermediate that signs in its name."""
    with _told():
        from mesh.identity import folder as folders

        own = _own(root, root_key)
        made = folders.make(folder, trust_domain, _now(), _passphrase(passphrase_file), own)
        kept = "" if own else f" Its key, {folder / '1' / 'root.key'}, is needed for `renew` alone: keep it elsewhere"
        typer.echo(f"{made.bundle}: what every host trusts.{kept}")


def issue(
    folder: Folder,
    kind: Kind,
    name: Annotated[str, typer.Argument(help="Its name: web-1, or /svc/users.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets NAME.pem and NAME.key.")] = Path(),
    dns: Annotated[list[str] | None, typer.Option("--dns", help="A name that clients know it by.")] = None,
    address: Annotated[list[str] | None, typer.Option("--address", help="An IP address likewise.")] = None,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=24 * 397, help="How long it is valid.")] = 24,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Issue a certificate with the SPIFFE id of a host or of a service, and its key."""
    with _told():
        from mesh.identity import folder as folders
        from mesh.identity.authority import Hosts
        from mesh.identity.spiffe import SpiffeId

        of = _loaded(folder, passphrase_file)
        id = SpiffeId.host(of.trust_domain, name) if kind == "host" else SpiffeId.service(of.trust_domain, name)
        issued = of.issue(id, _now(), timedelta(hours=hours), Hosts(tuple(dns or ()), tuple(address or ())))
        files = folders.put(issued, out)
        typer.echo(f"{id}, until {issued.not_after:%Y-%m-%d %H:%M} UTC: {files[0]}, {files[1]}")


def renew(folder: Folder, passphrase_file: PassphraseFile = None) -> None:
    """Make a new intermediate. It takes the root's key."""
    with _told():
        of = _loaded(folder, passphrase_file)
        of.renew(_now())
        until = of.chain()[0].not_valid_after_utc
        typer.echo(f"{folder}: a new intermediate signs, until {until:%Y-%m-%d}")


def rotate(
    folder: Folder,
    step: Step,
    root: Annotated[Path | None, typer.Option("--root", help="For prepare: a root of your own, PEM.")] = None,
    root_key: Annotated[Path | None, typer.Option("--root-key", help="Its key. It is used, and not kept.")] = None,
    spread: Annotated[
        float, typer.Option("--spread-hours", min=0, help="How long a bundle takes to be on every host.")
    ] = 24,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Replace the root, in three steps: trust the new one, let it sign, trust the old one no more."""
    with _told():
        of = _loaded(folder, passphrase_file)
        of.rotate(step, _now(), _own(root, root_key), timedelta(hours=spread))
        typer.echo(f"{of.bundle}: {_SAID[step]}")
        due = of.stage.due(timedelta(hours=spread))
        if of.stage.next != "prepare":
            typer.echo(f"next: {of.stage.next}, not before {due:%Y-%m-%d %H:%M} UTC")


def show_it(folder: Folder, output: Output = Format.TABLE) -> None:
    """Which roots are trusted, which one signs, until when, and the next step of a rotation."""
    with _told():
        of = _loaded(folder, None)
        rows = [_row(of, generation, root) for generation, root in zip(of.stage.trusted, of.roots(), strict=True)]
        stage = {"trust_domain": of.trust_domain, "next": of.stage.next, "due": of.stage.due().timestamp()}
        if output is Format.JSON:
            print_json({**stage, "roots": rows})
        else:
            typer.echo(f"trust domain: {of.trust_domain}; next step of a rotation: {of.stage.next}")
            show(_table(rows))


_SAID = {
    "prepare": "has the new root, too. Bring it to every host",
    "activate": "is as it was. What is issued from now on is signed by the new root",
    "retire": "has the new root alone. Bring it to every host",
}


def _row(of: Authority, generation: int, root: Certificate) -> dict[str, object]:
    signs = generation == of.stage.signing
    return {
        "generation": generation,
        "root": root.subject.rfc4514_string(),
        "until": root.not_valid_after_utc.timestamp(),
        "signs": signs,
        "intermediate_until": of.chain()[0].not_valid_after_utc.timestamp() if signs else None,
    }


def _table(rows: list[dict[str, object]]) -> Table:
    from rich.table import Table

    table = Table("ROOT", "SUBJECT", "UNTIL", "SIGNS", "INTERMEDIATE UNTIL", box=None, pad_edge=False)
    for row in rows:
        until = (_day(row["until"]), "yes" if row["signs"] else "no", _day(row["intermediate_until"]))
        table.add_row(str(row["generation"]), str(row["root"]), *until)
    return table


def _day(at: object) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" if isinstance(at, float) else "-"


def _now() -> datetime:
    return datetime.now(UTC)


def _loaded(folder: Path, passphrase_file: Path | None) -> Authority:
    from mesh.identity import folder as folders

    return folders.load(folder, _passphrase(passphrase_file))


def _own(root: Path | None, key: Path | None) -> Signer | None:
    if (root is None) != (key is None):
        fail("--root and --root-key go together", 2)
    if root is None or key is None:
        return None
    from mesh.identity import folder as folders

    return folders.read_root(root, key)


def _passphrase(file: Path | None) -> bytes | None:
    if file is None:
        return os.environb.get(PASSPHRASE.encode()) or None
    try:
        text = file.read_bytes().strip()
    except OSError as error:
        fail(f"{file}: {(error.strerror or str(error)).lower()}")
    return text or fail(f"{file}: a passphrase expected, and there is nothing")


@contextmanager
def _told() -> Iterator[None]:
    """What can't be done ends the command with the reason."""
    from mesh.identity.authority import Unissuable
    from mesh.identity.folder import Unusable
    from mesh.identity.spiffe import NotSpiffe
    from mesh.identity.stages import TooEarly

    try:
        yield
    except (Unusable, Unissuable, NotSpiffe, TooEarly) as error:
        fail(str(error))
