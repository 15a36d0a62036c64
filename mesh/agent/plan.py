"""From the configuration to what the supervisor starts, as one JSON object. A process of its own (see supervisor)."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path as File

from mesh.agent import brain_process
from mesh.config.load import examine
from mesh.config.model import Config
from mesh.envoy.binary import binary
from mesh.envoy.bootstrap import bootstrap
from platforms.host.facts import node_id


def plan(config: Config, file: File) -> dict[str, object]:
    """Writes the bootstrap beside the sockets, readable by its owner alone."""
    config.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps(_bootstrap(config), indent=1)
    target = config.run_dir / "bootstrap.json"
    target.write_text(text)
    target.chmod(0o600)
    return {
        "run_dir": str(config.run_dir),
        "brain": brain_process.arguments(str(file)),
        "envoy": [
            str(_binary(config)),
            *("--config-path", str(target)),
            *("--concurrency", str(config.envoy.workers)),
            *("--log-level", config.envoy.log_level),
            # An access log that lags ten seconds behind is of no use to who looks for a failure.
            *("--file-flush-interval-msec", "1000"),
        ],
        "bootstrap": text,
        "drain_seconds": config.envoy.drain,
        "log_level": config.log.level,
        "log_format": config.log.format,
    }


def _binary(config: Config) -> File:
    return config.envoy.binary or binary()


def _bootstrap(config: Config) -> object:
    return bootstrap(
        node_id=node_id(socket.gethostname()),
        node_cluster="tieline",
        ads_socket=config.run_dir / "xds.sock",
        admin_socket=config.run_dir / "envoy.sock",
        max_connections=config.envoy.connections,
        max_heap_bytes=config.envoy.memory,
    )


def _access_log_problem(config: Config) -> str | None:
    """Envoy refuses a router whose log it can't open. The file is made, for its owner and group alone."""
    path = config.access_log.path
    if path is None:
        return None
    try:
        with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o640)):
            return None
    except OSError as error:
        return f"{path}: {error.strerror}; choose an access_log.path the agent may write to"


def main() -> None:
    file = File(sys.argv[1])
    examined = examine(file)
    for problem in (*examined.errors, *examined.warnings):
        print(problem, file=sys.stderr)
    if examined.config is None:
        sys.exit(1)
    config = examined.config
    if not os.access(_binary(config), os.X_OK):
        print(f"{_binary(config)}: no Envoy that can be run; correct envoy.binary", file=sys.stderr)
        sys.exit(1)
    if (unwritable := _access_log_problem(config)) is not None:
        print(unwritable, file=sys.stderr)
        sys.exit(1)
    try:
        print(json.dumps(plan(config, file.absolute())))
    except OSError as error:
        print(f"{config.run_dir}: {error.strerror}; choose a run_dir the agent may write to", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
