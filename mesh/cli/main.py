"""Entry point. A host's start waits for nothing that other commands than `tieline agent` need."""

from __future__ import annotations

import sys

from mesh.cli import agent


def main() -> None:
    if sys.argv[1:2] == ["agent"]:
        agent.alone()(sys.argv[2:], prog_name="tieline agent")
    else:
        # Not above, because of what it imports: a tenth of a second of an agent's start.
        from mesh.cli.application import application

        application()()
