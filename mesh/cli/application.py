"""Which commands there are. What each does stands in a file of its own."""

from __future__ import annotations

import typer

from mesh.cli import agent, apply, ca, configuration, control, dtab, explain, names, shift, status, version
from mesh.cli.control_client import on_control_plane
from mesh.cli.options import plain

HELP = """One proxy per host, one name per service, and it tells you why.

Ends with 0: yes, done; 1: the answer is no, or bad input; 2: wrong command line; 3: agent or control plane not reached.
"""


def application() -> typer.Typer:
    app = plain("tieline", HELP)
    app.command()(agent.agent)
    for asking in (explain.explain, names.names, status.status, apply.apply, apply.preview, apply.lint, shift.shift):
        app.command()(on_control_plane(asking))
    app.command()(version.version)
    app.add_typer(dtab.commands())
    app.add_typer(dtab.policy_commands())
    app.add_typer(configuration.commands())
    app.add_typer(control.commands())
    app.add_typer(ca.commands())
    return app
