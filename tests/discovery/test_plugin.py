"""A source in a package of its own, installed beside Tieline: found, checked, observed and served as ours are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import pytest
import yaml

from discovery import registry
from discovery.path import Path
from discovery.settings import SourceConfig
from scripts.running import TIELINE, service
from tests.discovery.contract import Key, SourceContract, World, watching
from tests.host import host
from tests.plugins.toy_registry import ToyRegistry, toy_registry

TOY = FilePath(__file__).parent.parent / "plugins" / "tieline-toy"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    """The folder that pip has put it into, built by this environment's hatchling: nothing is downloaded."""
    place = tmp_path_factory.mktemp("toy") / "site"
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--target", str(place)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, str(TOY)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def with_toy(installed: FilePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process and its children find it."""
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(installed)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "tieline_toy"]:
        del sys.modules[name]


def toy(**settings: object) -> SourceConfig:
    """Its configuration, by way of the entry point."""
    found = registry.load("toy")
    assert not isinstance(found, registry.Broken), found
    return found.model_validate({"kind": "toy", **settings})


class ToyWorld(World):
    def __init__(self, platform: ToyRegistry) -> None:
        self.platform = platform

    async def put(self, name: Path, *endpoints: Key) -> None:
        self.platform.put(name[0], *endpoints)

    async def remove(self, name: Path) -> None:
        self.platform.remove(name[0])

    async def empty(self, name: Path) -> None:
        self.platform.put(name[0])

    async def go_dark(self) -> None:
        await self.platform.stop()

    async def come_back(self) -> None:
        await self.platform.start()

    async def garble(self, name: Path) -> None:
        self.platform.say(name[0], "HERE 10.0.0.1:8080 <html>\n")

    async def misconfigure(self) -> None:
        self.platform.is_closed_to_us = True

    async def halve(self, name: Path) -> None:
        self.platform.say(name[0], "HERE 10.0.0.1:8080 10.0.0.2:80")

    async def stall(self) -> None:
        self.platform.is_stalled = True

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.platform.lose(name[0], " ".join(["HERE", *(f"{address}:{port}" for address, port in endpoints)]) + "\n")


@pytest.mark.usefixtures("with_toy")
class TestToyContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with toy_registry() as platform, toy(address=platform.address).open() as source:
            world = ToyWorld(platform)
            world.source = source
            yield world


@pytest.mark.parametrize(
    "line", ["\n", "THERE\n", "HERE 10.0.0.1\n", "HERE 10.0.0.1:0\n", "HERE a.example:80\n", "\0\n"]
)
@pytest.mark.usefixtures("with_toy")
async def test_a_line_that_makes_no_sense_is_an_error_with_its_place(line: str) -> None:
    async with toy_registry() as platform, toy(address=platform.address).open() as source:
        platform.say("users", line)
        async with watching(source, Path(("users",))) as watch:
            assert "line can't be read" in str(await watch.ends())


@pytest.mark.usefixtures("with_toy")
async def test_a_name_is_called_through_the_proxy_and_follows_the_registry() -> None:
    async with toy_registry() as platform, service("blue") as blue, service("green") as green:
        source = {"kind": "toy", "address": platform.address, "confirm_after": "200ms", "damping": "0s"}
        platform.put("users", ("127.0.0.1", blue))
        async with host(dtab="/svc => /#/toy", sources=[source]) as running:
            await running.until("users", "blue")
            assert (await running.call("nobody")).status in (404, 503)
            platform.put("users", ("127.0.0.1", green))
            await running.until("users", "green")
            await platform.stop()
            await running.until("users", "green")
            await running.no_nacks()


def tieline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TIELINE, *words], check=False, capture_output=True, text=True)


def configured(place: FilePath, **settings: object) -> str:
    file = place / "tieline.yaml"
    sources = [{"kind": "static", "names": {}}, {"kind": "toy", **settings}]
    file.write_text(yaml.safe_dump({"dtab": "/svc => /#/toy", "sources": sources}, sort_keys=False))
    return str(file)


@pytest.mark.usefixtures("with_toy")
def test_its_configuration_is_checked_as_ours_is(tmp_path: FilePath) -> None:
    good = tieline("config", "check", configured(tmp_path, address="127.0.0.1:7000"))
    assert good.returncode == 0, good.stdout + good.stderr
    wrong = tieline("config", "check", configured(tmp_path, address="nowhere", adress="x"))
    assert wrong.returncode == 1
    assert (
        "tieline.yaml:6:12: sources[1].address: an address such as 127.0.0.1:7000 expected"
        in wrong.stdout + wrong.stderr
    )
    assert "adress" in wrong.stdout + wrong.stderr


@pytest.mark.usefixtures("with_toy")
def test_the_schema_for_editors_knows_its_keys() -> None:
    schema = json.loads(tieline("config", "schema").stdout)
    shown = schema["$defs"]["ToyConfig"]["properties"]
    assert shown["kind"]["const"] == "toy"
    assert shown["address"]["default"] == "127.0.0.1:7000"
    assert set(shown) >= {"timeout", "prefix", "resync"}


def test_one_that_is_not_installed_is_told_with_its_place_and_what_there_is(tmp_path: FilePath) -> None:
    said = tieline("config", "check", configured(tmp_path))
    assert said.returncode == 1
    assert "tieline.yaml:5:9: sources[1].kind: no kind of source is called 'toy'" in said.stdout + said.stderr
    assert "consul" in said.stdout + said.stderr


@pytest.mark.usefixtures("with_toy")
def test_one_that_cannot_be_loaded_is_told_with_its_distribution(installed: FilePath, tmp_path: FilePath) -> None:
    module = installed / "tieline_toy" / "source.py"
    whole = module.read_text()
    module.write_text(whole.replace("import asyncio", "import asyncio, no_such_library", 1))
    try:
        said = tieline("config", "check", configured(tmp_path))
    finally:
        module.write_text(whole)
    assert said.returncode == 1
    assert "tieline-toy" in said.stdout + said.stderr
    assert "no_such_library" in said.stdout + said.stderr
