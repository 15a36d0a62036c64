from __future__ import annotations

from pathlib import Path

import pytest

from mesh.control.grants import PREFIX, Role, digest, examine, new_token

HASH = digest("a token")


def test_a_file_of_tokens_and_certificates_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(
        f"tokens:\n  - {{name: ci, role: write, sha256: {HASH}}}\n"
        f"  - {{name: host7, role: agent, sha256: {HASH}, namespaces: [default, other]}}\n"
        "certificates:\n  - {name: 'spiffe://example.org/host8', role: agent}\n"
    )
    grants = examine(file).grants
    assert grants is not None
    assert [(each.name, each.role) for each in grants.tokens] == [("ci", Role.WRITE), ("host7", Role.AGENT)]
    assert grants.tokens[1].namespaces == ("default", "other")
    assert grants.certificates[0].role is Role.AGENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("tokens: 3", "1:9: tokens: a list expected, not what stands there", id="no list"),
        pytest.param("tokens: [{name: a, role: read}]", "tokens[0].sha256: the key is missing", id="no hash"),
        pytest.param(
            f"tokens: [{{name: a, role: admin, sha256: {HASH}}}]",
            "tokens[0].role: 'read', 'write' or 'agent' expected, not 'admin'",
            id="role",
        ),
        pytest.param(
            f"tokens:\n- {{name: a, role: read, sha256: {HASH}, namespaces: [x]}}",
            "2:3: tokens[0]: `namespaces` is for `role: agent` only",
            id="namespaces",
        ),
        pytest.param(
            f"tokens: [{{name: a, role: agent, sha256: {HASH}, namespaces: [a.b]}}]",
            "the name of a namespace expected",
            id="namespace",
        ),
        pytest.param("token: []", "token: unknown key. Did you mean 'tokens'?", id="key"),
        pytest.param("- x", "a section of keys expected", id="list"),
        pytest.param("tokens: [", "this is not YAML", id="no YAML"),
    ],
)
def test_each_mistake_has_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(text)
    examined = examine(file)
    assert examined.grants is None
    assert any(said in str(problem) for problem in examined.problems), list(map(str, examined.problems))


def test_a_token_that_stands_where_its_hash_should_is_not_repeated(tmp_path: Path) -> None:
    file, token = tmp_path / "tokens.yaml", new_token()
    file.write_text(
        f"tokens:\n  - {{name: a, role: read, sha256: {token}}}\n  - {{name: b, role: read, token: {token}}}\n"
    )
    said = "\n".join(map(str, examine(file).problems))
    assert "the SHA-256 of a token expected" in said
    assert token not in said


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    [problem] = examine(tmp_path / "none").problems
    assert "can't be read" in str(problem)


def test_new_tokens_are_long_and_differ() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert one.startswith(PREFIX)
    assert len(one) > 50
