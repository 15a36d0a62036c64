from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File

import pytest

from mesh.control.recall import Recall
from mesh.control.seen import RECALLED_TO, REMEMBERED_SECONDS, Limits, Seen
from scripts.running import eventually, folder
from tests.control import PATIENCE, control

OLD, NEW = "/svc => /#/files", "/svc => /#/files ; /svc/users => /#/files/cart"


class Process:
    """One after the other, over the same file."""

    def __init__(self, file: File, now: float = 6_001.0, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.now = now
        self.seen = Seen(lambda: self.now, limits)
        self.recall = Recall(file, self.seen, every=0.01)

    def hears(self, *names: str, namespace: str = "default") -> None:
        self.seen.joined("a", namespace, "0.1.0")
        rows = [{"router": "http", "name": f"/svc/{name}", "rate": 1.0} for name in names]
        self.seen.reported("a", {"type": "status", "names": rows})

    @property
    def names(self) -> dict[object, object]:
        return {each["name"]: each["rate"] for each in self.seen.names("default")}

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.recall.keep())
            try:
                yield
            finally:
                task.cancel()


async def test_what_was_in_use_is_known_to_the_next_process_for_the_rest_of_its_hour(tmp_path: File) -> None:
    one = Process(tmp_path / "names.json")
    async with one.runs():
        one.hears("users", "cart")
        await eventually((tmp_path / "names.json").exists, PATIENCE, "it is not written")
    two = Process(tmp_path / "names.json", one.now + 60)
    async with two.runs():
        await eventually(lambda: bool(two.names), PATIENCE, "nothing was recalled")
        assert two.names == {"/svc/users": 0, "/svc/cart": 0}
        two.now += REMEMBERED_SECONDS / 2
        two.hears("users")
        assert two.names == {"/svc/cart": 0, "/svc/users": 1.0}
        two.now += REMEMBERED_SECONDS / 2 + RECALLED_TO
        assert two.names == {"/svc/users": 1.0}


async def test_it_is_written_while_it_runs_and_not_again_when_nothing_is_new(tmp_path: File) -> None:
    file = tmp_path / "names.json"
    one = Process(file)
    async with one.runs():
        one.hears("users")
        await eventually(file.exists, PATIENCE, "it is not written")
        file.unlink()
        one.now += 1
        one.hears("users")
        one.recall.every = 0.0
        for _ in range(20):
            await asyncio.to_thread(lambda: None)
        assert not file.exists()
        one.hears("users", "cart")
        await eventually(file.exists, PATIENCE, "what is new is not written")
    assert json.loads(file.read_text()) == {"default": [["http", "/svc/users", 6600], ["http", "/svc/cart", 6600]]}


async def test_what_agents_report_before_it_is_read_is_newer(tmp_path: File) -> None:
    (tmp_path / "names.json").write_text('{"default": [["http", "/svc/b", 5000], ["http", "/svc/a", 4000]]}')
    one = Process(tmp_path / "names.json", limits=Limits(names=2))
    one.hears("b")
    async with one.runs():
        await eventually(lambda: len(one.names) == 2, PATIENCE, "nothing was recalled")
        assert one.names == {"/svc/a": 0, "/svc/b": 1.0}
        one.hears("b", "c")
        assert list(one.names) == ["/svc/b", "/svc/c"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it can't be read: "),
        ("[]", "it can't be read: the file: an object expected"),
        ('{"default": [["http", "users", 1]]}', "it can't be read: "),
        ('{"default": [["http", "/svc/users"]]}', "it can't be read: a list expected"),
        ('{"default": [["http", "/svc/users", "x"]]}', "it can't be read: at: a number"),
    ],
)
async def test_a_file_that_can_not_be_read_costs_a_line(
    tmp_path: File, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    (tmp_path / "names.json").write_text(text)
    one = Process(tmp_path / "names.json")
    with caplog.at_level(logging.WARNING):
        async with one.runs():
            one.hears("users")
            await eventually(lambda: bool(caplog.records), PATIENCE, "nothing is logged")
    (record,) = caplog.records
    assert record.fields["error"].startswith(why)  # type: ignore[attr-defined]
    two = Process(tmp_path / "names.json")
    async with two.runs():
        await eventually(lambda: bool(two.names), PATIENCE, "it was not written anew")


async def test_a_place_that_can_not_be_written_is_told_once_and_mended(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    one = Process(tmp_path / "none" / "names.json")
    with caplog.at_level(logging.WARNING):
        async with one.runs():
            one.hears("users")
            await eventually(lambda: one.recall.failing is not None, PATIENCE, "it does not fail")
            (tmp_path / "none").mkdir()
            await eventually(lambda: one.recall.failing is None, PATIENCE, "it is not mended")
    assert len(caplog.records) == 1


async def test_a_preview_after_a_restart_knows_what_was_called_before() -> None:
    with folder() as place:
        async with control(at=place) as served, served.agent() as agent:
            served.name("users", 1001)
            served.name("cart", 1002)
            await served.put(OLD)
            await served.in_use(agent, "/svc/users")
        async with control(at=place) as served:

            async def knows() -> bool:
                asked = {"json": {"dtab": NEW}}
                seen = (await served.ask("POST", "/v1/namespaces/default/preview", by="reader", **asked)).json
                return [each["name"] for each in seen["changed"]] == ["/svc/users"]

            await eventually(knows, PATIENCE, "the name is forgotten")
