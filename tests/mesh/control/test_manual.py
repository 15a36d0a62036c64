"""docs/control.md holds a row for every key of a control plane's configuration, with the text that the model has."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from discovery.documented import texts
from mesh.control.config import ControlConfig, Journal, Listen, ListenTls, Preview, Replicas
from mesh.control.store.config import ConsulStoreConfig, EtcdStoreConfig, SqliteStoreConfig
from tests.manual import ROOT, code, tables

MANUAL = (ROOT / "docs" / "control.md").read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "## The configuration": ControlConfig,
    "### `listen`": Listen,
    "### `listen.tls`": ListenTls,
    "### `replicas`": Replicas,
    "### `preview`": Preview,
    "### `journal`": Journal,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_has_its_row_and_the_reverse(heading: str) -> None:
    section = MANUAL.split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", section, re.MULTILINE)
    said = texts(SECTIONS[heading])
    assert rows == [(key, said[key]) for key in SECTIONS[heading].model_fields]


def test_every_metric_is_in_the_manual_and_the_reverse() -> None:
    text = (ROOT / "mesh" / "control" / "vitals.py").read_text()
    made = re.findall(r'(gauge|counter)\(\s*"(tieline_\w+)"', text)
    rows = tables(ROOT / "docs" / "control.md", "| metric | is |")
    assert {code(row[0]) for row in rows} == {f"{name}_total" if kind == "counter" else name for kind, name in made}


@pytest.mark.parametrize("store", [SqliteStoreConfig, ConsulStoreConfig, EtcdStoreConfig])
def test_every_key_of_a_store_is_named(store: type[BaseModel]) -> None:
    kind = store.model_fields["kind"].default
    (row,) = re.findall(rf"^\| `{kind}` \| ([^|]*) \|", MANUAL, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(store.model_fields) - {"kind"}
