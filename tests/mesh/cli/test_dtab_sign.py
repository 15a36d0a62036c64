from __future__ import annotations

import time

from mesh.naming.signature import verified


def test_the_signature_is_one_that_routers_accept(tieline, tmp_path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 16)
    done = tieline("dtab", "sign", " /svc/users =>  /#/files/next", "--key-file", "key", "--valid", "30m")
    assert done.exit_code == 0
    headers = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert headers["l5d-dtab"] == "/svc/users=>/#/files/next"
    now = time.time()
    until = verified(b"k" * 16, headers["l5d-dtab"], headers["l5d-dtab-signature"], now)
    assert isinstance(until, int)
    assert 1700 < until - now <= 1800


def test_what_can_not_be_signed(tieline, tmp_path) -> None:
    (tmp_path / "short").write_bytes(b"k")
    table = "/svc/users => /x"
    for arguments, code, said in [
        ((table, "--key-file", "short"), 1, "short: a key of at least 16 bytes expected\n"),
        ((table, "--key-file", "none"), 1, "none: the file can't be read: no such file or directory\n"),
        (("/svc = /x", "--key-file", "short"), 1, "table, line 1, column 6: '=>' expected"),
        ((table, "--key-file", "short", "--valid", "soon"), 2, "a duration such as 30m or 8h expected"),
    ]:
        done = tieline("dtab", "sign", *arguments)
        assert done.exit_code == code
        assert said in done.stderr, done.stderr
