"""The manual holds: its commands run and print what it shows, its configurations load, its tables are true."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from discovery import registry
from discovery.path import Path as MeshPath
from mesh.admin import server
from mesh.agent import delegating, facts, proxy_metrics, proxy_rows, refusal, resolver
from mesh.cli import offline
from mesh.config.load import examine
from mesh.control import grants, load
from mesh.envoy import replies
from mesh.naming import signature
from mesh.naming.bind import Binding, Broken, Waiting, bind
from mesh.naming.dtab import parse_dtab
from mesh.naming.identify import host
from mesh.naming.show import show_tree
from mesh.naming.trace import Grade
from mesh.naming.tree import BoundTree, Leaf, NameTree, Union, Weighted
from scripts.running import TIELINE, agent, eventually, folder
from tests import manual
from tests.certificates import Authority
from tests.manual import PAGES, ROOT, Block
from tests.session import Session, session

DOCS = ROOT / "docs"
BLOCKS = [block for page in PAGES for block in manual.blocks(page)]
RUN = [page for page in PAGES if any(block.kind in ("sh", "console") for block in manual.blocks(page))]
# What a reader sees there is never the same twice.
VOLATILE = [
    (re.compile(r"\b\d+(\.\d+)?(ms|s|m|h|d)\b(?= ago|$| +(SYNCED|\d|-))"), "TIME"),
    (re.compile(r"up \d+(\.\d+)?(ms|s|m|h|d)"), "up TIME"),
    (re.compile(r"pid (\d+|-)"), "pid PID"),
    (re.compile(r"\d+ MiB"), "MEMORY"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\S+"), "WHEN WHO"),
    (re.compile(r"replica \S+,"), "replica HOST,"),
    (re.compile(r"^proxy \S+: has version [0-9a-f]+"), "proxy HOST: has version VERSION"),
    (re.compile(r"^\S+(?= +TIME +SYNCED)"), "HOST"),
    (re.compile(r"^(tieline|envoy|python)([: ]+)\d+\.\d+\.\d+"), r"\1\2VERSION"),
    (re.compile(r"\s+"), " "),
]


def named(value: Path | Block) -> str:
    return value.place if isinstance(value, Block) else value.name


@pytest.mark.parametrize("page", RUN, ids=named)
def test_the_commands_of_a_page_run_and_print_what_it_shows(page: Path) -> None:
    skipped = [f"{block.place}: {block.not_run}" for block in manual.blocks(page) if block.not_run]
    print(f"{page.name}: blocks not run: {len(skipped)}", *skipped, sep="\n  ")
    with folder() as place, session(place) as reader:
        for block in manual.blocks(page):
            if not block.not_run:
                follow(block, reader)


def follow(block: Block, reader: Session) -> None:
    if block.target:
        reader.write(block.target, block.text)
    if block.kind not in ("sh", "console"):
        return
    found = manual.commands(block)
    for command in found:
        ended, printed = reader.run(command.line)
        shown = "\n".join(printed)
        expected = block.ends_with if command is found[-1] else 0
        assert ended == expected, f"{block.place}: $ {command.line} ended with {ended}\n{shown}"
        if command.output:
            assert agrees(command.output, printed), f"{block.place}: $ {command.line} printed\n{shown}"


def agrees(shown: tuple[str, ...], printed: list[str]) -> bool:
    """`…` stands for anything; empty lines and blanks don't count."""
    pattern = "\n".join(".*".join(map(re.escape, steady(line).split("…"))) for line in shown if line.strip())
    text = "\n".join(steady(line) for line in printed if line.strip())
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def steady(line: str) -> str:
    for volatile, word in VOLATILE:
        line = volatile.sub(word, line)
    return line.strip()


def test_hardly_any_block_is_not_run() -> None:
    assert len([block for block in BLOCKS if block.not_run]) <= 5


CONFIGURATIONS = [
    block
    for block in BLOCKS
    if block.kind == "yaml" and re.search(r"^(dtab|sources|routers|control):", block.text, re.MULTILINE)
    if not (block.target or "").startswith("control") and not re.search(r"^namespace:", block.text, re.MULTILINE)
]
CONTROL_PLANES = [
    block
    for block in BLOCKS
    if (block.target or "").startswith("control")
    or (block.kind == "yaml" and re.search(r"^(store|listen|journal):", block.text, re.MULTILINE))
]
AUTHORITY = Authority()
TABLES = [block for block in BLOCKS if block.kind == "dtab"]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=named)
def test_every_configuration_shown_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text(block.text)
    # The files of certificates that the manual speaks of.
    for name in ("edge", "partners", "ca", "client", "certs/web-1"):
        AUTHORITY.server("localhost").write((tmp_path / name).parent, Path(name).name)
    AUTHORITY.write(tmp_path / "ca", "bundle")
    (tmp_path / "overrides.key").write_bytes(bytes(32))
    assert [str(problem) for problem in examine(file).errors] == []


@pytest.mark.parametrize("block", CONTROL_PLANES, ids=named)
def test_every_configuration_of_a_control_plane_loads(block: Block, tmp_path: Path) -> None:
    AUTHORITY.server("localhost").write(tmp_path / "certs", "control")
    AUTHORITY.write(tmp_path / "ca", "bundle")
    for name in ("tokens.yaml", "known.yaml"):
        (tmp_path / name).write_text("tokens: []\n")
    (tmp_path / "control.yaml").write_text(block.text)
    assert [str(problem) for problem in load.examine(tmp_path / "control.yaml").errors] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.target == "example-tokens.yaml"], ids=named)
def test_every_file_of_tokens_shown_is_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "tokens.yaml").write_text(block.text)
    assert grants.examine(tmp_path / "tokens.yaml").problems == ()


@pytest.mark.parametrize("block", TABLES, ids=named)
def test_every_table_shown_parses(block: Block) -> None:
    assert len(parse_dtab(block.text))


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted(ROOT.glob("discovery/**/README.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in manual.links(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in manual.anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in manual.links(ROOT / "README.md")}
    assert [page.name for page in DOCS.glob("*.md") if page not in linked] == []


NAMING = DOCS / "naming.md"
WORLD = next(block.text for block in manual.blocks(NAMING) if block.target == "world.yaml")
EXAMPLES = [
    [manual.code(table), manual.code(path), leads]
    for table, path, leads in manual.tables(NAMING, "| table | path | leads to |")
]


@pytest.mark.parametrize(("table", "path", "leads"), EXAMPLES, ids=lambda cell: cell)
def test_every_example_of_the_naming_page_leads_where_it_says(table: str, path: str, leads: str) -> None:
    states = offline.states(WORLD, "world.yaml")
    kinds = {name: kind.segments for name, kind in registry.kinds().items() if not isinstance(kind, registry.Broken)}
    binding = bind(parse_dtab(table), MeshPath.parse(path), [offline.AnySource(states, kinds)], offline.asking(states))
    assert outcome(binding) == leads


def outcome(binding: Binding) -> str:
    """As the page writes it."""
    match binding.tree:
        case Waiting():
            return "not known yet"
        case Broken():
            return "an error"
        case tree:
            dead = ", which has no endpoint" if binding.grade is Grade.DEAD else ""
            return f"`{show_tree(paths(tree))}`{dead}"


def paths(tree: BoundTree) -> NameTree[MeshPath]:
    match tree:
        case Leaf(name):
            return Leaf(name.id.then(name.residual))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, paths(branch.tree)) for branch in branches))
        case _:
            assert not hasattr(tree, "trees"), "a bound tree has no alternatives"
            return tree


def test_there_are_examples_enough_to_mean_something() -> None:
    assert len(EXAMPLES) >= 30


@pytest.mark.parametrize("row", list(manual.tables(NAMING, "| `Host:` | path |")), ids=lambda row: row[0])
def test_every_host_becomes_the_path_that_the_naming_page_says(row: list[str]) -> None:
    path = host(manual.code(row[0]), MeshPath.parse("/svc"))
    assert isinstance(path, MeshPath)
    assert path.show() == manual.code(row[1])


def source(*modules: object) -> str:
    """What stands in the code, with what is filled in written as the manual does."""
    text = "".join(Path(str(module.__file__)).read_text() for module in modules)  # type: ignore[attr-defined]
    for inside, word in (
        ("path", "/svc/NAME"),
        ("name", "NAME"),
        ("reason", "…"),
        ("nack.message", "…"),
        ("protocol", "…"),
        ("header", "…"),
    ):
        text = text.replace(f"{{{inside}}}", word)
    return text.replace("%RESPONSE_CODE_DETAILS%", "…").replace("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "…")


TROUBLES = DOCS / "troubleshooting.md"


def test_every_refusal_in_the_code_is_in_the_manual_and_the_reverse() -> None:
    text = source(refusal, resolver, replies, delegating, signature).replace("{MOST_BYTES}", str(delegating.MOST_BYTES))
    rows = list(manual.tables(TROUBLES, "| status | `l5d-err` | means | then |"))
    written = [said for row in rows for said in re.findall(r"`([^`]+)`", row[1])]
    assert [said for said in written if said not in text] == []
    made = re.findall(r'(?:_refusal\(\d+, |_mapper\(\s*_\w+\([^)]*\),\s*|unavailable\(\s*|late = )f?"([^"]+)"', text)
    assert [said for said in made if said not in written] == []
    assert len(made) >= 15


def test_every_log_line_in_the_manual_is_in_the_code() -> None:
    code = "".join(file.read_text() for package in ("mesh", "discovery") for file in (ROOT / package).rglob("*.py"))
    rows = manual.tables(TROUBLES, "| message | means |")
    assert [said for row in rows for said in re.findall(r"`([^`]+)`", row[0]) if f'"{said}' not in code] == []


def test_every_metric_and_page_of_the_admin_api_is_in_the_manual_and_the_reverse() -> None:
    text = "".join(Path(str(each.__file__)).read_text() for each in (facts, proxy_metrics, proxy_rows))
    counters = set(re.findall(r'(?:counter\(|COUNTER,)\s*"(tieline_\w+)"', text))
    metrics = {f"{name}_total" if name in counters else name for name in re.findall(r'"(tieline_\w+)"', text)}
    rows = manual.tables(DOCS / "how-it-works.md", "| metric | is |")
    assert {manual.code(row[0]).partition("{")[0] for row in rows} == metrics
    pages = set(re.findall(r'^        "(/\w+)": _', Path(str(server.__file__)).read_text(), re.MULTILINE))
    rows = manual.tables(DOCS / "how-it-works.md", "| page | is |")
    assert {manual.code(row[0]).partition("?")[0] for row in rows} == pages


UNITS = [block for block in BLOCKS if block.kind == "ini"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("block", UNITS, ids=named)
def test_every_systemd_unit_shown_is_one(block: Block, tmp_path: Path) -> None:
    unit = tmp_path / "tieline.service"
    unit.write_text(block.text.replace("/opt/tieline/bin/tieline", TIELINE))
    done = subprocess.run(["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "tieline" in line]
    assert (done.returncode, ours) == (0, [])


async def test_a_service_manager_is_told_when_the_agent_is_ready_and_when_it_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with folder() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        loop = asyncio.get_running_loop()
        with agent(
            place, {"dtab": "/svc => /#/files", "sources": [{"kind": "files", "folder": str(place)}]}
        ) as running:
            async with asyncio.timeout(20):
                assert await loop.sock_recv(manager, 100) == b"READY=1"
            assert (await running.ask("/readyz"))[0] == 200
            running.process.terminate()
            async with asyncio.timeout(20):
                assert await loop.sock_recv(manager, 100) == b"STOPPING=1"
            await eventually(lambda: running.process.poll() is not None, 20, "the agent does not end")
