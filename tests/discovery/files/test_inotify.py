from __future__ import annotations

from pathlib import Path

from discovery.files.inotify import Watching


async def test_a_file_renamed_over_a_name_changes_that_name_alone(tmp_path: Path) -> None:
    for name in ("users", "orders"):
        (tmp_path / name).write_text("127.0.0.1 80\n")
    watching = Watching(tmp_path)
    with watching.watched("users") as users, watching.watched("orders") as orders:
        users.clear()
        orders.clear()
        # Both before the loop looks: by the time the creation is read, the temporary name is gone.
        (tmp_path / ".users").write_text("127.0.0.1 81\n")
        (tmp_path / ".users").rename(tmp_path / "users")
        await users.wait()
        assert not orders.is_set()
    watching.close()


async def test_a_link_that_is_swapped_changes_every_name(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("127.0.0.1 80\n")
    watching = Watching(tmp_path)
    with watching.watched("users") as users:
        users.clear()
        (tmp_path / "..data_tmp").symlink_to(tmp_path)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await users.wait()
    watching.close()
