from __future__ import annotations

import asyncio
import os
import pathlib
import resource
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from discovery.address import Addr, Bound, Neg
from discovery.files import inotify
from discovery.files.changes import Changes, Looking, changes
from discovery.files.config import FilesConfig
from discovery.files.source import FilesSource, Resolve
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import ONE, THREE, TWO, Key, SourceContract, World, keys, watching

USERS = Path(("users",))


def lines(*endpoints: Key) -> str:
    return "".join(f"{address} {port}\n" for address, port in endpoints)


def replace(file: pathlib.Path, text: str) -> None:
    """As a careful writer does it."""
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text(text)
    draft.replace(file)


@asynccontextmanager
async def opened(folder: pathlib.Path, resolve: Resolve | None = None) -> AsyncIterator[FilesSource]:
    watching = changes(folder)
    try:
        yield FilesSource(folder, watching, resolve, shortest_seconds=0.01)
    finally:
        watching.close()


def watches() -> int:
    """How many inodes this process has inotify watch."""
    return sum(
        file.read_text().count("inotify wd:") for file in pathlib.Path("/proc/self/fdinfo").iterdir() if file.exists()
    )


class _Folder(World):
    def __init__(self, folder: pathlib.Path, changes: Changes) -> None:
        self.folder = folder
        self.source = FilesSource(folder, changes)

    async def put(self, name: Path, *endpoints: Key) -> None:
        (self.folder / name[0]).write_text(lines(*endpoints))

    async def remove(self, name: Path) -> None:
        (self.folder / name[0]).unlink()

    async def empty(self, name: Path) -> None:
        (self.folder / name[0]).write_text("")

    async def go_dark(self) -> None:
        self.folder.rename(self.folder.with_name("away"))

    async def come_back(self) -> None:
        self.folder.with_name("away").rename(self.folder)

    async def garble(self, name: Path) -> None:
        (self.folder / name[0]).write_bytes(b"10.0.0.1 8080\n\x00\xff{]")

    async def misconfigure(self) -> None:
        shutil.rmtree(self.folder)


class TestFilesContract(SourceContract):
    lacks = frozenset({"halve", "stall", "lose", "origin"})

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return self._world()

    @asynccontextmanager
    async def _world(self) -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory() as parent:
            folder = pathlib.Path(parent) / "services"
            folder.mkdir()
            watching = self.changes(folder)
            try:
                yield _Folder(folder, watching)
            finally:
                watching.close()

    def changes(self, folder: pathlib.Path) -> Changes:
        return changes(folder)


class TestFilesContractWithoutInotify(TestFilesContract):
    def changes(self, folder: pathlib.Path) -> Changes:
        return Looking(folder, look_seconds=0.01)


@pytest.mark.parametrize("linger", [0.0, 0.01])
async def test_an_editor_that_truncates_and_writes_slowly_shows_neither_an_empty_nor_a_half_list(
    tmp_path: pathlib.Path, linger: float
) -> None:
    file = tmp_path / "users"
    file.write_text(lines(ONE, TWO))
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees(ONE, TWO)
        with file.open("w") as writer:
            await asyncio.sleep(linger)
            for part in ("10.0.0.1 80", "80\n10.0.0.2", " 8080\n", "10.0.0.3 9090\n"):
                writer.write(part)
                writer.flush()
                await asyncio.sleep(linger)
        await watch.sees(ONE, TWO, THREE)
        assert {frozenset(keys(addr) or ()) for addr in watch.published} == {
            frozenset({ONE, TWO}),
            frozenset({ONE, TWO, THREE}),
        }


async def test_a_writer_that_never_closes_is_read_when_it_has_been_quiet(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify, "QUIET_SECONDS", 0.05)
    file = tmp_path / "users"
    file.write_text(lines(ONE))
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        with file.open("a") as writer:
            writer.write("10.0.0.2 8080\n")
            writer.flush()
            await watch.sees(ONE, TWO)
            writer.write("10.0.0.3 90")
            writer.flush()
            error = await watch.ends()
            assert str(error) == f"{file}: the last line has no end and the file's writer has not closed it"


async def test_a_name_asked_for_while_its_file_is_written_waits_for_the_writer(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as source:
        with (tmp_path / "users").open("w") as writer:
            writer.write("10.0.0.1 80")
            writer.flush()
            async with watching(source, USERS) as watch:
                await asyncio.sleep(0.02)
                assert watch.published == []
                writer.write("80\n")
                writer.close()
                await watch.sees(ONE)


async def test_a_closed_file_needs_no_end_of_its_last_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "users").write_text("10.0.0.1 8080")
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)


async def test_an_atomic_rename_is_seen(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees_none()
        replace(tmp_path / "users", lines(ONE))
        await watch.sees(ONE)
        replace(tmp_path / "users", lines(TWO))
        await watch.sees(TWO)
        assert not any(isinstance(addr, Neg) for addr in watch.published[1:])


async def test_a_mounted_config_map_is_swapped_whole(tmp_path: pathlib.Path) -> None:
    def mount(version: str, endpoint: Key) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "users").write_text(lines(endpoint))
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    mount("..1", ONE)
    (tmp_path / "users").symlink_to("..data/users")
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        mount("..2", TWO)
        shutil.rmtree(tmp_path / "..1")
        await watch.sees(TWO)
        assert await source.names() == [USERS]


async def test_a_folder_that_is_a_link_may_be_swapped(tmp_path: pathlib.Path) -> None:
    for version, endpoint in (("v1", ONE), ("v2", TWO)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "users").write_text(lines(endpoint))
    folder = tmp_path / "services"
    folder.symlink_to("v1")
    async with opened(folder) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        (tmp_path / "new").symlink_to("v2")
        (tmp_path / "new").rename(folder)
        await watch.sees(TWO)
        replace(tmp_path / "v2" / "users", lines(THREE))
        await watch.sees(THREE)
        replace(tmp_path / "v2" / "users", lines(TWO))
        await watch.sees(TWO)
        assert watches() == 2


async def test_a_folder_that_is_removed_is_unavailable_and_is_watched_again_when_it_is_back(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    async with opened(folder) as source:
        for endpoint in (ONE, TWO):
            (folder / "users").write_text(lines(endpoint))
            async with watching(source, USERS) as watch:
                await watch.sees(endpoint)
                replace(folder / "users", lines(THREE))
                await watch.sees(THREE)
                folder.rename(tmp_path / "away")
                assert isinstance(await watch.ends(), Unavailable)
            shutil.rmtree(tmp_path / "away")
            folder.mkdir()


async def test_a_folder_made_again_under_a_running_observation_is_watched(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    (folder / "users").write_text(lines(ONE))
    async with opened(folder) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "users").write_text(lines(TWO))
        await watch.sees(TWO)
        replace(folder / "users", lines(THREE))
        await watch.sees(THREE)


async def test_a_folder_that_was_never_there_is_misconfigured(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path / "services") as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, Misconfigured)
        assert str(error) == (f"{tmp_path}/services: No such file or directory; create the folder or correct `folder`")
        with pytest.raises(Misconfigured):
            await source.names()


async def test_a_folder_whose_parent_was_missing_is_watched_when_both_are_there(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "etc" / "services"
    async with opened(folder) as source:
        async with watching(source, USERS) as watch:
            await watch.ends()
        folder.mkdir(parents=True)
        async with watching(source, USERS) as watch:
            await watch.sees_none()
            replace(folder / "users", lines(ONE))
            await watch.sees(ONE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(pathlib.Path.mkdir, "a regular file expected", id="folder"),
        pytest.param(os.mkfifo, "a regular file expected", id="pipe"),
        pytest.param(lambda file: file.symlink_to(file), "Too many levels of symbolic links", id="loop"),
        pytest.param(lambda file: file.write_bytes(b"#" * 500_001), "more than 500,000 bytes", id="too-big"),
        pytest.param(lambda file: file.write_bytes(b"10.0.0.1 80\n\xff"), ":2:1: UTF-8 expected", id="bad-utf-8"),
    ],
)
async def test_what_is_no_proper_file_is_an_error_that_names_it(
    tmp_path: pathlib.Path, make: object, message: str
) -> None:
    assert callable(make)
    make(tmp_path / "users")
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        error = str(await watch.ends())
        assert error.startswith(f"{tmp_path}/users")
        assert message in error


@pytest.mark.parametrize("name", ["a b", "ünï", "-rf", "#x", "100%", os.fsdecode(b"\xff\xfe"), "x" * 255])
async def test_a_name_may_have_any_character_that_a_file_may_have(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text(lines(ONE))
    async with opened(tmp_path) as source, watching(source, Path((name,))) as watch:
        await watch.sees(ONE)
        replace(tmp_path / "x", lines(ONE)) if name != "x" else None
        (tmp_path / name).write_text(lines(ONE, TWO))
        await watch.sees(ONE, TWO)
        assert Path((name,)) in list(await source.names())


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "users~", "../users", "a/b", "\0", "x" * 256])
async def test_what_can_be_no_name_is_missing_and_reads_nothing(tmp_path: pathlib.Path, name: str) -> None:
    for file in (".hidden", "users~"):
        (tmp_path / file).write_text(lines(ONE))
    (tmp_path.parent / "users").write_text(lines(ONE))
    async with opened(tmp_path) as source, watching(source, Path((name,))) as watch:
        await watch.sees_none()
        assert list(await source.names()) == []


async def test_an_overflow_of_the_queue_has_every_file_read_again(tmp_path: pathlib.Path) -> None:
    (tmp_path / "users").write_text(lines(ONE))
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        noise = [tmp_path / "a", tmp_path / "b"]
        limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(limit + 10):
            noise[number % 2].touch()
        replace(tmp_path / "users", lines(TWO))
        await watch.sees(TWO)


async def test_host_names_are_resolved_and_asked_again_when_their_time_is_over(tmp_path: pathlib.Path) -> None:
    answers: list[tuple[str, ...]] = [("10.0.0.1",), ("10.0.0.1", "10.0.0.2")]

    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        assert host == "users.internal"
        return (answers.pop(0) if len(answers) > 1 else answers[0]), 0

    (tmp_path / "users").write_text("users.internal 8080\nusers.internal 9090\n")
    async with opened(tmp_path, resolve) as source, watching(source, USERS) as watch:
        await watch.sees(ONE, TWO, (ONE[0], 9090), (TWO[0], 9090))
        assert keys(watch.published[0]) == {ONE, (ONE[0], 9090)}


async def test_a_host_that_is_not_there_is_an_error_of_its_line(tmp_path: pathlib.Path) -> None:
    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        return (), 30

    (tmp_path / "users").write_text("10.0.0.1 80\nusers.internal 80\n")
    async with opened(tmp_path, resolve) as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert str(error) == f"{tmp_path}/users:2: no host 'users.internal'; correct the line or remove it"
        assert watch.published == []


async def test_without_a_resolver_a_host_name_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "users").write_text("users.internal 80\n")
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        assert isinstance(await watch.ends(), Misconfigured)


async def test_the_configuration_opens_a_source_that_resolves(tmp_path: pathlib.Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "users").write_text("localhost 80\n")
    config = FilesConfig.model_validate({"folder": "services"}, context={"folder": tmp_path})
    async with config.open() as source, watching(source, USERS) as watch:
        await watch.until(lambda watch: ("127.0.0.1", 80) in (keys(watch.latest) or ()), "127.0.0.1")


async def test_two_hundred_changes_in_a_row_end_in_the_truth(tmp_path: pathlib.Path) -> None:
    seen: list[Addr] = []
    async with opened(tmp_path) as source, watching(source, USERS) as watch:
        for number in range(1, 201):
            replace(tmp_path / "users", lines(("10.0.0.1", number)))
            if number % 10 == 0:
                await asyncio.sleep(0)
        await watch.sees(("10.0.0.1", 200))
        seen = watch.published
    assert Bound() not in seen


async def test_without_inotify_files_are_looked_at_and_the_log_says_so_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = os.dup(0)
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        watching = changes(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    watching.close()
    assert isinstance(watching, Looking)
    [record] = caplog.records
    assert record.getMessage() == "the folder can't be watched, its files are looked at every second"
    assert vars(record)["fields"]["why"].startswith("Too many open files")
