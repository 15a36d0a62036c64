from __future__ import annotations

import pathlib
import sys
from importlib.metadata import Distribution, EntryPoint, entry_points

import pytest

from discovery import registry
from discovery.registry import GROUP, Broken
from discovery.static.config import StaticConfig


def plugin(tmp_path: pathlib.Path, distribution: str, kind: str, value: str) -> list[EntryPoint]:
    """As an installed distribution registers it."""
    folder = tmp_path / f"{distribution}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{kind} = {value}\n")
    return list(Distribution.at(folder).entry_points)


def module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_our_own_kinds_are_known_uninstalled() -> None:
    assert registry.registered([]) == [
        *("cloudmap", "consul", "dns", "docker", "ecs", "files", "kubernetes", "marathon", "static")
    ]
    assert registry.load("static", []) is StaticConfig


def test_the_table_and_the_entry_points_say_the_same() -> None:
    assert {point.name: point.value for point in entry_points(group=GROUP)}.items() >= registry.OURS.items()


def test_a_kind_that_nobody_registered_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nomad"):
        registry.load("nomad", [])


def test_a_plugin_is_a_kind_like_ours(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(
        tmp_path, monkeypatch, "nomad_good", "from discovery.settings import SourceConfig\nclass C(SourceConfig): ..."
    )
    plugins = plugin(tmp_path, "tieline-nomad", "nomad", "nomad_good:C")
    kind = registry.kinds(plugins)["nomad"]
    assert isinstance(kind, type)
    assert kind.__name__ == "C"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("raise RuntimeError('no licence')", "RuntimeError: no licence", id="raises"),
        pytest.param("import nothing_of_that_name", "No module named 'nothing_of_that_name'", id="lacks-a-dependency"),
        pytest.param("", "has no attribute 'C'", id="has-no-such-class"),
        pytest.param("C = 5", "no subclass of discovery.settings.SourceConfig", id="is-no-configuration"),
    ],
)
def test_a_broken_plugin_names_its_distribution_and_spoils_no_other(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    module(tmp_path, monkeypatch, "nomad_bad", text)
    found = registry.kinds(plugin(tmp_path, "tieline-nomad", "nomad", "nomad_bad:C"))
    assert found["static"] is StaticConfig
    broken = found["nomad"]
    assert isinstance(broken, Broken)
    assert broken.distribution == "tieline-nomad"
    assert reason in str(broken)


def test_two_distributions_of_one_kind_are_both_named(tmp_path: pathlib.Path) -> None:
    plugins = [*plugin(tmp_path, "one", "nomad", "a:C"), *plugin(tmp_path, "two", "nomad", "b:C")]
    broken = registry.load("nomad", plugins)
    assert isinstance(broken, Broken)
    assert broken.distribution == "one, two"


def test_a_plugin_does_not_replace_a_kind_of_ours(tmp_path: pathlib.Path) -> None:
    assert registry.load("static", plugin(tmp_path, "impostor", "static", "a:C")) is StaticConfig
