"""Where things are when nobody says: the one place that reads the environment for the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TIELINE_CONFIG"
SYSTEM_FILE = Path("/etc/tieline/tieline.yaml")


def run_dir(environ: Mapping[str, str]) -> Path:
    return _below(environ, "XDG_RUNTIME_DIR", Path("/run/tieline"))


def state_dir(environ: Mapping[str, str]) -> Path:
    return _below(environ, "XDG_STATE_HOME", Path("/var/lib/tieline"))


def config_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(VARIABLE) or SYSTEM_FILE)


def _below(environ: Mapping[str, str], variable: str, otherwise: Path) -> Path:
    # The XDG specification: a relative value is to be ignored.
    folder = Path(environ.get(variable, ""))
    return folder / "tieline" if folder.is_absolute() else otherwise
