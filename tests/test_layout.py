"""The shape of the repository: sizes, names, mirrors, and that importing does nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manual import ROOT

PACKAGES = ("discovery", "mesh", "platforms")
CODE = (*PACKAGES, "bench", "demo", "scripts", "tests")
FORBIDDEN = {"utils", "util", "common", "helpers", "helper", "core", "base", "manager", "handler", "impl", "misc"}
CAP, LONG = 500, 300

# Source files without a test file of their own, by the test that covers them (a file, or a folder of them).
COVERED_ELSEWHERE = {
    "tests/discovery/test_holding.py": ["discovery/address.py"],
    "tests/mesh/naming/test_dtab.py": ["discovery/path.py", "mesh/naming/tree.py"],
    "tests/discovery/contract.py": ["discovery/source.py"],
    "tests/mesh/agent/test_orphan.py": ["mesh/agent/keeper.py"],
    "tests/mesh/control/test_hub.py": ["mesh/control/namespaces.py"],
    "tests/mesh/control/store/contract.py": ["mesh/control/store/protocol.py"],
    "tests/mesh/control/store/test_etcd.py": ["mesh/control/store/etcd_api.py"],
    "tests/mesh/control/store/test_sqlite.py": ["mesh/control/store/sqlite_file.py"],
    "tests/discovery/ecs/test_source.py": [
        f"discovery/ecs/{name}.py" for name in ("feed", "lookup", "reading", "shapes")
    ],
    "tests/discovery/consul/test_source.py": ["discovery/consul/api.py"],
    "tests/discovery/remote/test_frames.py": ["discovery/remote/reading.py"],
    "tests/discovery/remote/test_link.py": ["discovery/remote/dialling.py"],
    "tests/discovery/files/test_source.py": [f"discovery/files/{name}.py" for name in ("changes", "config", "reading")],
    "tests/mesh/agent/test_http.py": [
        "mesh/admin/metrics.py",
        *(f"mesh/agent/{name}.py" for name in ("asking", "explained", "explainer", "publisher", "resolver")),
        "mesh/envoy/replies.py",
    ],
    "tests/mesh/agent/test_policies.py": [
        "mesh/cli/policies.py",
        *(f"mesh/envoy/{name}.py" for name in ("balancing", "breakers", "retries")),
        *(f"mesh/policy/{name}.py" for name in ("balancing", "resilience", "settings", "shown")),
    ],
    "tests/mesh/agent/test_edge.py": ["mesh/envoy/edge.py", "mesh/envoy/sockets.py"],
    "tests/mesh/agent/test_origination.py": ["mesh/envoy/origination.py", "mesh/policy/tls.py"],
    "tests/mesh/agent/test_tls.py": ["mesh/agent/secrets.py", "mesh/envoy/tls.py"],
    "tests/mesh/agent/test_overrides.py": [
        "mesh/agent/delegating.py",
        "mesh/config/routers.py",
        "mesh/envoy/delegation.py",
    ],
    "tests/mesh/agent/test_failover.py": ["mesh/agent/targets.py", "mesh/envoy/composite.py"],
    "tests/mesh/agent/test_deadlines.py": ["mesh/envoy/deadlines.py"],
    "tests/mesh/agent/test_chosen_endpoints.py": ["mesh/policy/subset.py"],
    "tests/mesh/agent/test_mirrors.py": ["mesh/envoy/mirroring.py", "mesh/policy/mirroring.py"],
    "tests/mesh/agent/test_shaping.py": [f"mesh/policy/{name}.py" for name in ("headers", "rewriting", "shaping")],
    "tests/mesh/agent/test_access_log.py": [
        "mesh/agent/seeing.py",
        "mesh/agent/table_version.py",
        "mesh/config/seeing.py",
        "mesh/envoy/access_log.py",
        "mesh/envoy/sight.py",
    ],
    "tests/mesh/agent/test_destination.py": ["mesh/envoy/destination.py"],
    "tests/mesh/agent/test_tracing.py": ["mesh/envoy/tracing.py"],
    "tests/mesh/agent/test_proxy_metrics.py": [
        "mesh/agent/counted.py",
        "mesh/agent/proxy_rows.py",
        "mesh/envoy/labels.py",
    ],
    "tests/mesh/agent/test_tcp.py": ["mesh/agent/publishing.py", "mesh/agent/streams.py"],
    "tests/mesh/agent/test_tls_passthrough.py": ["mesh/agent/sni_resolver.py", "mesh/agent/stream_routers.py"],
    "tests/mesh/agent/test_snapshot.py": [
        f"mesh/agent/{name}.py" for name in ("database", "snapshot_file", "snapshot_rows")
    ],
    "tests/mesh/agent/test_supervisor.py": [
        *(
            f"mesh/agent/{name}.py"
            for name in ("adoption", "brain", "collector", "brain_start", "brain_process", "child", "plan")
        ),
        *(f"mesh/agent/{name}.py" for name in ("entries", "envoy_process", "log", "wiring")),
        "mesh/envoy/binary.py",
    ],
    "tests/mesh/agent/test_names_in_use.py": ["mesh/agent/names.py", "mesh/agent/shown.py"],
    "tests/test_docs.py": ["mesh/agent/notify.py"],
    "tests/mesh/cli": [
        *(f"mesh/cli/{name}.py" for name in ("answer", "dtab", "ending", "offline", "options", "printing")),
        *(f"mesh/cli/{name}.py" for name in ("changing", "connection", "table_file", "tree", "versions")),
    ],
    "tests/mesh/cli/test_content_commands.py": ["mesh/cli/rollback.py"],
    "tests/mesh/cli/test_shift.py": ["mesh/cli/shift_run.py", "mesh/cli/shift_telling.py"],
    "tests/mesh/config/test_load.py": [
        "discovery/settings.py",
        "mesh/config/identifiers.py",
        "mesh/policy/entry.py",
        *(f"mesh/config/{name}.py" for name in ("checks", "edge", "fields", "material", "model", "policies")),
        *(f"mesh/config/{name}.py" for name in ("problem", "reading", "report", "routers", "sections", "wording")),
    ],
    "tests/mesh/naming/test_bind.py": ["mesh/naming/trace.py"],
    "tests/mesh/control/test_foresight.py": [
        *(f"mesh/control/{name}.py" for name in ("destination", "effect", "precedent")),
    ],
    "tests/mesh/control/test_journal.py": [f"mesh/control/{name}.py" for name in ("journal_file", "past")],
    "tests/mesh/control/test_preview.py": ["mesh/control/settings_difference.py"],
    "tests/mesh/control/test_load.py": ["mesh/control/config.py"],
    "tests/mesh/control/test_service.py": [
        *(f"mesh/control/{name}.py" for name in ("judging", "listening", "reporting", "vitals")),
        "mesh/control/api/in_force.py",
    ],
    "tests/mesh/control/api/test_namespaces.py": ["mesh/control/api/writing.py"],
    "tests/mesh/control/api/test_namerd_names.py": [
        *(f"mesh/control/api/{name}.py" for name in ("binding", "watching")),
    ],
    "tests/mesh/control/api/test_serving.py": [
        *(f"mesh/control/api/{name}.py" for name in ("reading", "recording", "route")),
    ],
    "tests/mesh/control/api/test_openapi.py": ["mesh/control/api/shapes.py"],
    "tests/mesh/control/api/test_health.py": ["mesh/control/api/sources.py"],
    "tests/mesh/control/test_seen.py": ["mesh/control/status.py"],
    "tests/mesh/envoy/test_routes.py": ["mesh/naming/shares.py"],
    "tests/mesh/xds": [f"mesh/xds/{name}.py" for name in ("events", "status", "stream")],
    "tests/mesh/envoy": ["mesh/envoy/packing.py"],
}


def tracked() -> list[Path]:
    """What is committed or would be: git's files, without those it ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_file_is_longer_than_the_cap() -> None:
    lengths = {shown(file): len(file.read_text().splitlines()) for file in modules(*CODE)}
    for name, length in lengths.items():
        if length > LONG and not name.startswith("tests/"):
            print(f"long: {name} has {length} lines")
    assert {name: length for name, length in lengths.items() if length > CAP} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [file for file in modules(*CODE) if {file.stem, *file.relative_to(ROOT).parts[:-1]} & FORBIDDEN]
    assert [shown(file) for file in named] == []


def mirror(file: Path) -> Path:
    return ROOT / "tests" / file.relative_to(ROOT).with_name(f"test_{file.name}")


def test_every_source_file_has_a_test_file_or_is_on_the_list() -> None:
    listed = {name for names in COVERED_ELSEWHERE.values() for name in names}
    sources = [file for file in modules(*PACKAGES) if file.stem != "__init__"]
    untested = {shown(file) for file in sources if not mirror(file).exists()}
    print("tested now, to be taken off the list:", *sorted(listed & {*map(shown, sources)} - untested))
    assert sorted(untested - listed) == [], "no test file at the mirrored place, and not on the list"


def test_the_list_names_nothing_that_is_gone() -> None:
    named = [*COVERED_ELSEWHERE, *(name for names in COVERED_ELSEWHERE.values() for name in names)]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_tests_are_no_packages() -> None:
    assert [shown(file) for file in (ROOT / "tests").rglob("__init__.py")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_in_a_few_lines_what_belongs_there_and_holds_nothing_else(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        tree = ast.parse(file.read_text())
        text = ast.get_docstring(tree)
        assert text, f"{shown(file)} has no docstring"
        assert len(text.splitlines()) <= 6, shown(file)
        assert len(tree.body) == 1, f"{shown(file)} holds more than its docstring"


def test_every_folder_of_code_is_a_package() -> None:
    folders = {file.parent for file in modules(*PACKAGES)}
    assert [shown(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


IMPORTING = """
import importlib, logging, os, sys, threading

def world():
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    ours = [each for each in loggers if each.name.partition(".")[0] in ("tieline", "mesh", "discovery", "platforms")]
    configured = [each.name for each in (logging.root, *ours) if each.handlers or each.level not in (0, 30)]
    return dict(os.environ), os.getcwd(), threading.active_count(), configured, len(os.listdir("/proc/self/fd"))

for name in sys.argv[1:]:
    before = world()
    importlib.import_module(name)
    if (after := world()) != before:
        print(name, [(a, b) for a, b in zip(before, after) if a != b])
"""


def test_importing_any_module_has_no_effect() -> None:
    """No output, thread, open file, changed environment or configured log; two clean processes for all modules."""
    names = [dotted(file) for file in modules(*PACKAGES)]
    command = [sys.executable, "-W", "error", "-c", IMPORTING]
    halves = [
        subprocess.Popen([*command, *half], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        for half in (names[0::2], names[1::2])
    ]
    said = [half.communicate()[0] for half in halves]
    assert (said, [half.returncode for half in halves]) == (["", ""], [0, 0])


# Written in pieces, so that this file does not hold them.
PLACES = [f"/{top}/" for top in ("wo" + "rk", "ro" + "ot")]
HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.",
    # With a slash: Debian's package is called docker.io, too.
    "docker" + r"\.io/",
    "ghcr" + r"\.io",
    "proxy.go" + "lang",
]
OPTIONS = ["--index" + "-url", "--extra-index" + "-url", "--trusted" + "-host"]


def test_no_committed_file_names_a_place_on_somebodys_machine_or_a_registry() -> None:
    told = re.compile("|".join([*(rf"(?<![\w.$}}-]){place}" for place in PLACES), *HOSTS, *OPTIONS]))
    found = []
    for file in tracked():
        try:
            lines = file.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{shown(file)}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if told.search(line)
        ]
    assert found == []
