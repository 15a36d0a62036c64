"""The wheel holds the three packages and nothing else, and installed each of them has one owner."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.running import TIELINE
from tests.manual import ROOT

PACKAGES = ("discovery", "mesh", "platforms")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built by the environment's own hatchling: nothing is downloaded."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    [file] = place.iterdir()
    assert file.name.endswith("-py3-none-any.whl")
    return zipfile.ZipFile(file)


def parts(wheel: zipfile.ZipFile) -> list[Path]:
    return [Path(name) for name in wheel.namelist()]


def test_the_wheel_holds_exactly_the_three_packages(wheel: zipfile.ZipFile) -> None:
    tops = {part.parts[0] for part in parts(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_module_the_typing_mark_and_the_pages_of_the_sources(wheel: zipfile.ZipFile) -> None:
    held = {str(part) for part in parts(wheel)}
    source = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()]
    wanted = {str(file.relative_to(ROOT)) for file in source if "__pycache__" not in file.parts}
    assert held & wanted == wanted
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert {"discovery/README.md", "discovery/consul/README.md"} <= held


def test_the_wheel_holds_nothing_that_was_made_by_running(wheel: zipfile.ZipFile) -> None:
    assert [str(part) for part in parts(wheel) if part.suffix == ".pyc" or part.name.startswith(".")] == []


def test_the_wheel_brings_the_command_and_our_sources(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert "tieline = mesh.cli.main:main" in text
    assert "consul = discovery.consul.config:ConsulConfig" in text


def from_wheel(wheel: zipfile.ZipFile, place: Path, code: str, *arguments: str) -> str:
    """What a Python says that has the wheel before everything else in this environment."""
    wheel.extractall(place)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=place, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


OWNERS = """
import importlib.metadata, json
owners = importlib.metadata.packages_distributions()
print(json.dumps({name: sorted(set(owners[name])) for name in ("discovery", "mesh", "platforms")}))
"""


def test_each_package_has_one_owner(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Another distribution with such a name would be imported in our place, or we in its."""
    owners = json.loads(from_wheel(wheel, tmp_path, OWNERS))
    assert owners == {package: ["tieline"] for package in PACKAGES}


def test_the_command_runs_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    code = "import mesh.cli.main as main; print(main.__file__); main.main()"
    said = from_wheel(wheel, tmp_path, code, "version")
    assert str(tmp_path) in said.splitlines()[0]
    assert f"tieline {importlib.metadata.version('tieline')}" in said


def test_the_installed_command_says_its_version() -> None:
    said = subprocess.run([TIELINE, "version"], check=True, capture_output=True, text=True).stdout
    assert f"tieline {importlib.metadata.version('tieline')}" in said
    assert "envoy 1." in said
