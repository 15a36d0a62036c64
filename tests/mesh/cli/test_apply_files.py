from __future__ import annotations

from pathlib import Path

import pytest

from mesh.cli.answer import Answer
from mesh.cli.apply_files import BadFiles, Wanted, wanted


def read(folder: Path, text: str, name: str = "fleet.yaml") -> list[Wanted]:
    (folder / name).write_text(text)
    return wanted([folder / name], "default")


def test_texts_stand_in_the_document_or_in_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "names.dtab").write_text("/svc => /#/files ;\n")
    (tmp_path / "p.yaml").write_text("- {match: /svc/users, timeout: {request: 5s}}\n")
    one, two = read(
        tmp_path,
        "dtab_file: names.dtab\nwhy: ticket 4711\n---\n"
        "namespace: shop\ndtab: |\n  /svc => /#/dns ;\npolicies_file: p.yaml\n",
    )
    assert (one.namespace, one.content.dtab, one.content.policies, one.why) == (
        "default",
        "/svc => /#/files ;\n",
        None,
        "ticket 4711",
    )
    assert (two.namespace, two.content.dtab) == ("shop", "/svc => /#/dns ;\n")
    assert two.content.policies == "- {match: /svc/users, timeout: {request: 5s}}\n"


def test_policies_that_stand_in_the_document_keep_their_comments(tmp_path: Path) -> None:
    (found,) = read(
        tmp_path,
        "namespace: shop\npolicies:\n  # slow\n  - match: /svc/users  # all of them\n"
        "    timeout: {request: 5s}\n\n  - match: /svc/x\nwhy: z\n",
    )
    assert found.content.policies == (
        "- match: /svc/users  # all of them\n  timeout: {request: 5s}\n\n- match: /svc/x\n"
    )


def test_policies_in_one_line(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "policies: [{match: /svc/users}]\n")
    assert found.content.policies == "[{match: /svc/users}]\n"


def test_what_is_emptied_is_not_what_is_left_away(tmp_path: Path) -> None:
    one, two = read(tmp_path, "dtab: ''\n---\nnamespace: b\npolicies: []\n")
    assert (one.content.dtab, one.content.policies) == ("", None)
    assert (two.content.dtab, two.content.policies) == (None, "[]\n")


@pytest.mark.parametrize(
    ("text", "where", "line", "column", "place"),
    [
        ("a", "dtab", 2, 3, "{0}/names.dtab:2:3"),
        ("b", "dtab", 2, 4, "{0}/fleet.yaml:7:6"),
        ("b", "policies", 2, 3, "{0}/fleet.yaml:10:5"),
        ("a", "policies", 3, 1, "{0}/fleet.yaml:1: the policies in force, line 3"),
    ],
)
def test_a_problem_has_its_place_in_the_files(
    tmp_path: Path, text: str, where: str, line: int, column: int, place: str
) -> None:
    (tmp_path / "names.dtab").write_text("/a => /b ;\n/c => /d\n")
    found = read(
        tmp_path,
        "namespace: a\ndtab_file: names.dtab\n---\nnamespace: b\ndtab: |\n"
        "  /a => /b ;\n  /c => /d ;\npolicies:\n  - match: /x\n    timeout: {}\n",
    )
    said = Answer({"where": where, "line": line, "column": column})
    assert {each.namespace: each for each in found}[text].placed(said) == place.format(tmp_path)


BAD = [
    ("dtb: x\n", "1:1: dtb: unknown key. Did you mean 'dtab'?"),
    ("dtab: x\ndtab_file: y\n", "2:1: dtab_file: `dtab` stands here, too. Remove one of the two"),
    ("namespace: a b\ndtab: x\n", "1:12: namespace: letters, digits, - and _ expected. Write another name"),
    ("dtab:\n", "1:6: dtab: text expected. Quote it if it is meant"),
    ("policies:\n", "1:10: policies: a list of policies expected. Begin each entry with `- match: …`"),
    ("dtab: [x]\n", "1:7: dtab: text expected. Quote it if it is meant"),
    ("policies: {a: b}\n", "1:11: policies: a list of policies expected. Begin each entry with `- match: …`"),
    ("why: nothing\n", "1:1: neither a table nor policies. Write for example `namespace: default` and"),
    ("- x\n", "1:1: keys expected. Write for example"),
    ("a: b: c\n", "1:5: this is not YAML: mapping values are not allowed here"),
    ("dtab: x\n---\ndtab: y\n", "3: the namespace 'default' stands at "),
    ("# nothing\n---\n", ": no document. "),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[text for text, _ in BAD])
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadFiles) as found:
        read(tmp_path, text)
    assert f"{tmp_path}/fleet.yaml:{said}".replace("::", ":") in str(found.value)


def test_every_problem_of_every_file_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("dtb: x\n---\nnamespace: b\ndtab_file: none.dtab\n")
    (tmp_path / "b.yml").write_text("dtab: |\n  /svc => /#/files\n")
    (tmp_path / "notes.txt").write_text("not read")
    with pytest.raises(BadFiles) as found:
        wanted([tmp_path, tmp_path / "none.yaml"], "default")
    assert str(found.value).splitlines() == [
        f"{tmp_path}/a.yaml:1:1: dtb: unknown key. Did you mean 'dtab'?",
        f"{tmp_path}/none.dtab: the file can't be read: no such file or directory. Give the path of a readable file",
        f"{tmp_path}/none.yaml: the file can't be read: no such file or directory. Give the path of a readable file",
    ]


def test_a_folder_without_a_file_is_no_order_to_do_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadFiles, match=r"no file in it ends with \.yaml or \.yml"):
        wanted([tmp_path], "default")
