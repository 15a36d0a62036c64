"""`tieline agent`"""

from __future__ import annotations

import os
import sys

import typer

from mesh.cli.ending import fail
from mesh.cli.options import ConfigFile


def agent(config: ConfigFile = None) -> None:
    """Run the agent of this host: the brain and Envoy, until it is told to end."""
    from mesh.config import places
    from mesh.config.load import examine

    file = config or places.config_file(os.environ)
    examined = examine(file)
    for warning in examined.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if examined.config is None:
        fail("\n".join(map(str, examined.errors)))
    sys.stdout.flush()
    sys.stderr.flush()
    # The supervisor is a process without what this one has loaded.
    os.execv(sys.executable, [sys.executable, "-m", "mesh.agent.supervisor", str(file.absolute())])  # noqa: S606
