"""docs/configuration.md holds a row for every key, with the default and the text that the model has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from discovery import registry
from discovery.settings import SourceConfig
from mesh.config.load import examine
from mesh.config.schema import schema

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "configuration.md").read_text()
SECTIONS = {
    "": "The file",
    "Admin": "`admin`",
    "Control": "`control`",
    "ControlTls": "`control`",
    "Router": "`routers`",
    "HostIdentifier": "`routers[].identifier`",
    "HeaderIdentifier": "`routers[].identifier`",
    "HeaderTokenIdentifier": "`routers[].identifier`",
    "PathIdentifier": "`routers[].identifier`",
    "MethodAndHostIdentifier": "`routers[].identifier`",
    "StaticIdentifier": "`routers[].identifier`",
    "Naming": "`naming`",
    "Names": "`names`",
    "Envoy": "`envoy`",
    "Metrics": "`metrics`",
    "Log": "`log`",
}
TRAFFIC = (ROOT / "docs" / "traffic.md").read_text()
OF_POLICIES = {
    "PolicyEntry": "## An entry",
    "Timeout": "## timeout",
    "Retries": "## retries",
    "Backoff": "### retries.backoff",
    "Budget": "### retries.budget",
    "Limits": "## limits",
    "Ejection": "## ejection",
    "SuccessRate": "### ejection.success_rate",
    "Balancing": "## balancing",
    "HashOn": "### balancing.hash_on",
    "SlowStart": "### balancing.slow_start",
    "HealthCheck": "## health_check",
    "Fault": "## fault",
    "Delay": "### fault.delay",
    "Abort": "### fault.abort",
    "RateLimit": "## rate_limit",
    "HeaderChanges": "## headers",
    "Change": "### headers.request",
    "ResponseChange": "### headers.request",
    "Rewrite": "## rewrite",
    "Redirect": "## redirect",
    "AccessLog": "## access_log",
    "Tracing": "## tracing",
    "Mirror": "## mirror",
    "Tls": "## tls",
    "RouterLimits": "### routers[].limits",
    "RouterTls": "## TLS at a router",
}


def section(title: str) -> str:
    return MANUAL.split(f"\n## {title}\n")[1].split("\n## ")[0]


def default(described: dict[str, Any]) -> str:
    if "default" not in described:
        return ""
    value = described["default"]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "one, as below"
    seconds = "pattern" in json.dumps(described.get("anyOf", "")) and isinstance(value, float)
    return f"`{value:g}s`" if seconds else f"`{json.dumps(value)}`".replace('"', "")


def rows(name: str) -> list[str]:
    described: Any = schema()
    properties = (described["$defs"][name] if name else described)["properties"]
    return [f"| `{key}` | {default(each)} | {meaning(each)} |" for key, each in properties.items()]


def meaning(described: dict[str, Any]) -> str:
    return str(described["description"]).replace("|", "\\|")


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_has_its_row(name: str) -> None:
    written = section(SECTIONS[name])
    assert [row for row in rows(name) if row not in written] == []


@pytest.mark.parametrize("name", OF_POLICIES)
def test_every_key_of_a_policy_has_its_row(name: str) -> None:
    written = TRAFFIC.split(f"\n{OF_POLICIES[name]}\n")[1].split("\n#")[0]
    assert [row for row in rows(name) if row not in written] == []


@pytest.mark.parametrize("kind", ["ConsulConfig", "DnsConfig", "FilesConfig", "StaticConfig"])
def test_every_key_of_a_source_is_named(kind: str) -> None:
    described: Any = schema()
    written = section("`sources`")
    assert [key for key in described["$defs"][kind]["properties"] if f"`{key}`" not in written] == []


@pytest.mark.parametrize("kind", registry.OURS)
def test_the_page_of_a_source_names_every_key_of_its_own(kind: str) -> None:
    config = registry.load(kind)
    assert not isinstance(config, registry.Broken), config
    page = (ROOT / "discovery" / kind / "README.md").read_text()
    keys = set(config.model_fields) - set(SourceConfig.model_fields)
    assert sorted(key for key in keys if f"{key}:" not in page and f"`{key}`" not in page) == []
    assert f"discovery/{kind}/README.md" in MANUAL


def test_the_example_of_the_manual_is_good(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text(MANUAL.split("```yaml\n")[1].split("```")[0])
    assert examine(file).errors == examine(file).warnings == ()
