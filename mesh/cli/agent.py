"""`tieline agent`"""

from __future__ import annotations

import os
import sys

import typer

from mesh.cli.options import ConfigFile, plain


def alone() -> typer.Typer:
    """A command line with nothing but this command."""
    app = plain()
    app.command()(agent)
    return app


def agent(config: ConfigFile = None) -> None:
    """Run the agent of this host: the brain and Envoy, until it is told to end."""
    from mesh.config import places

    file = config or places.config_file(os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # The supervisor is a process without what this one has loaded; it tells what is wrong with the configuration, too.
    os.execv(sys.executable, [sys.executable, "-m", "mesh.agent.supervisor", str(file.absolute())])  # noqa: S606
