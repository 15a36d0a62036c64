from __future__ import annotations

import json


def test_a_good_table(tieline) -> None:
    done = tieline("dtab", "check", "-", text="/svc => /#/files ; /svc/x => /svc/y")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "stdin: ok (dentries: 2)\n", "")


def test_a_syntax_error_has_line_and_column(tieline, tmp_path) -> None:
    (tmp_path / "t.dtab").write_text("/svc => /#/files ;\n/svc/x = /y\n")
    done = tieline("dtab", "check", "t.dtab")
    assert done.exit_code == 1
    assert done.stderr == "t.dtab:2:8: '=>' expected, not '='. A table reads `/prefix => /path | /another ; …`\n"


def test_a_circle_is_an_error(tieline) -> None:
    done = tieline("dtab", "check", "-", text="/a => /b ;\n/b => /a ;\n")
    assert done.exit_code == 1
    assert done.stderr == (
        "stdin:1: error: /a/x is rewritten in a circle, through lines 1, 2. Let one of these lead elsewhere\n"
    )


def test_an_entry_never_used_is_a_warning(tieline) -> None:
    done = tieline("dtab", "check", "-", text="/svc/x => /y ;\n/svc => /z | ! ;\n")
    assert done.exit_code == 0
    assert done.stderr == (
        "stdin:1: warning: /svc/x=>/y is never used: line 2 decides about all its names. "
        "Remove it, or move it below that line: later ones win\n"
    )


def test_sources_are_those_of_the_configuration(tieline, tmp_path) -> None:
    (tmp_path / "tieline.yaml").write_text("sources: [{kind: static}]\n")
    text = "/svc => /#/static ;\n/old => /#/gone/x ;\n"
    assert tieline("dtab", "check", "-", text=text).exit_code == 0
    done = tieline("dtab", "check", "-", "-c", "tieline.yaml", "-o", "json", text=text)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["dentries"]) == (False, 2)
    [remark] = told["remarks"]
    assert (remark["line"], remark["message"]) == (2, "/#/gone/x leads to no source")


def test_a_table_that_is_not_there(tieline) -> None:
    done = tieline("dtab", "check", "none.dtab")
    assert done.exit_code == 1
    assert done.stderr.startswith("none.dtab: the file can't be read: no such file or directory.")
