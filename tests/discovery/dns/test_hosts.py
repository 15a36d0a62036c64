import os
from pathlib import Path as FilePath

from discovery.dns.hosts import Hosts, parse


def test_every_alias_of_a_line_is_known_and_comments_are_not() -> None:
    text = "127.0.0.1 localhost\n10.0.0.1 db Db.example # db2\n# 10.0.0.2 x\n::1 localhost\nnonsense\n\n"
    assert parse(text) == {"localhost": ("127.0.0.1", "::1"), "db": ("10.0.0.1",), "db.example": ("10.0.0.1",)}


def test_the_file_is_read_again_when_it_changes(tmp_path: FilePath) -> None:
    file = tmp_path / "hosts"
    hosts = Hosts(file)
    assert hosts.addresses("db") == ()
    file.write_text("10.0.0.1 db\n")
    assert hosts.addresses("DB.") == ("10.0.0.1",)
    file.write_text("10.0.0.2 db\n")
    os.utime(file, (1, 1))
    assert hosts.addresses("db") == ("10.0.0.2",)
    file.unlink()
    assert hosts.addresses("db") == ()
