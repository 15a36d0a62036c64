from __future__ import annotations

import json
from pathlib import Path

import pytest

TABLE = "/svc => /#/files | 9 * /#/consul/dc1 & /#/consul/dc2 ;\n/svc/old => ! ;\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "t.dtab").write_text(TABLE)
    (tmp_path / "world.yaml").write_text(
        "/#/files/users: empty\n"
        "/#/consul/dc1/users: [10.0.0.1:80, '10.0.0.2:80 * 2']\n"
        "/#/consul/dc2/users: ['[::1]:80']\n"
    )


def test_without_a_state_every_name_is_assumed_and_that_is_said(tieline) -> None:
    done = tieline("dtab", "eval", "t.dtab", "/svc/users/a")
    assert done.exit_code == 0
    assert "✓ /#/files/users/a: 1 endpoint, residual /a" in done.stdout
    assert done.stdout.endswith("No --state: every name is assumed to be there, with an endpoint.\n")


def test_with_a_state_the_way_is_what_an_agent_would_go(tieline) -> None:
    done = tieline("dtab", "eval", "t.dtab", "/svc/users", "--state", "world.yaml")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "/svc/users: bound",
        "✓ /svc/users  the first of   [t.dtab:1  /svc => /#/files | 9.00*/#/consul/dc1 & /#/consul/dc2]",
        "├── ✗ /#/files/users: no endpoint: it can't serve",
        "└── ✓ /svc/users  split over",
        "    ├── ✓ 9 * /#/consul/dc1/users: 2 endpoints",
        "    │   ├── 10.0.0.1:80",
        "    │   └── 10.0.0.2:80  weight 2",
        "    └── ✓ 1 * /#/consul/dc2/users: 1 endpoint",
        "        └── [::1]:80",
    ]


@pytest.mark.parametrize(
    ("path", "outcome"), [("/svc/users", "bound"), ("/svc/none", "neg"), ("/svc/old", "fail"), ("/other", "neg")]
)
def test_the_end_tells_the_outcome(path: str, outcome: str, tieline) -> None:
    done = tieline("dtab", "eval", "t.dtab", path, "--state", "world.yaml", "-o", "json")
    told = json.loads(done.stdout)
    assert (told["path"], told["outcome"], told["assumed"]) == (path, outcome, False)
    assert done.exit_code == (0 if outcome == "bound" else 1)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("empty", "empty"), ("pending", "pending"), ("failed", "neg"), ("neg", "neg"), ("[]", "empty")],
)
def test_each_state_has_its_outcome(state: str, outcome: str, tieline, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(f'{{"/#/dns/a": {state if state == "[]" else json.dumps(state)}}}')
    done = tieline("dtab", "eval", "-", "/svc/a", "--state", "one.json", "-o", "json", text="/svc => /#/dns")
    assert json.loads(done.stdout)["outcome"] == outcome


def test_options_and_sources_are_those_of_the_configuration(tieline, tmp_path: Path) -> None:
    (tmp_path / "tieline.yaml").write_text("sources: [{kind: files, folder: x}]\nnaming: {alternate_on: [missing]}\n")
    done = tieline("dtab", "eval", "t.dtab", "/svc/users", "--state", "world.yaml", "-c", "tieline.yaml", "-o", "json")
    assert json.loads(done.stdout)["outcome"] == "empty"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("- x\n", "w.yaml:1:1: `path: state` lines expected"),
        ("svc: neg\n", "w.yaml:1:1: '/' expected but 's' found at position 0: [s]vc"),
        ("/a: gone\n", "w.yaml:1:5: /a: neg, empty, pending, failed or a list of `IP:port` expected"),
        ("/b: neg\n/a: [here:80]\n", "w.yaml:2:5: /a: an IP address (IPv6 in brackets) expected, not 'here'"),
        ("/a: 'x\n", "w.yaml:2:1: this is not YAML: while scanning a quoted scalar, found unexpected end of stream"),
    ],
)
def test_a_bad_state_file_is_refused_with_its_line(text: str, error: str, tieline, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(text)
    done = tieline("dtab", "eval", "t.dtab", "/svc/users", "--state", "w.yaml")
    assert done.exit_code == 1
    assert done.stderr.startswith(error)


def test_a_path_that_is_none_is_refused(tieline) -> None:
    done = tieline("dtab", "eval", "t.dtab", "users")
    assert (done.exit_code, done.stderr) == (1, "'/' expected but 'u' found at position 0: [u]sers\n")


def test_an_address_in_the_table_is_there_whatever_the_state_says(tieline) -> None:
    done = tieline("dtab", "eval", "-", "/a", "--state", "world.yaml", text="/a => /$/inet/127.0.0.1/80")
    assert done.exit_code == 0
