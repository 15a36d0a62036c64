from __future__ import annotations

import asyncio
import logging

import pytest

from discovery.outage import Outage
from discovery.path import Path
from tests.virtual_time import virtual


def name(number: int) -> Path:
    return Path(("#", "consul", str(number)))


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(record.getMessage(), vars(record)["fields"]) for record in caplog.records]


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@virtual
async def test_ten_thousand_names_that_fail_and_recover_together_are_four_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage("/#/consul", asyncio.get_running_loop())
    for number in range(10_000):
        outage.failed(name(number), "connection refused", None)
    await asyncio.sleep(60)
    for number in range(10_000):
        outage.recovered(name(number))
    await asyncio.sleep(2)
    fields = {"source": "/#/consul"}
    assert told(caplog) == [
        ("observation fails", {**fields, "name": "/#/consul/0", "reason": "connection refused"}),
        ("source unavailable", {**fields, "names": 9999, "reason": "connection refused"}),
        ("observation recovered", {**fields, "name": "/#/consul/0", "after_seconds": 60.0}),
        ("source answers again", {**fields, "names": 9999, "after_seconds": 60.0}),
    ]
    assert outage.names == 0


@virtual
async def test_a_name_that_fails_days_after_another_is_told_by_name(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("/#/files", asyncio.get_running_loop())
    outage.failed(name(1), "bad file", None)
    await asyncio.sleep(100_000)
    outage.failed(name(2), "bad file too", None)
    assert [fields["name"] for _, fields in told(caplog)] == ["/#/consul/1", "/#/consul/2"]
    outage.close()


@virtual
async def test_repeats_and_what_heals_within_the_second_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("/#/consul", asyncio.get_running_loop())
    outage.failed(name(1), "no", None)
    outage.failed(name(1), "no", None)
    outage.failed(name(2), "no", None)
    outage.recovered(name(2))
    await asyncio.sleep(5)
    assert len(told(caplog)) == 1


@virtual
async def test_a_name_that_flaps_within_the_second_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("/#/consul", asyncio.get_running_loop())
    outage.failed(name(1), "no", None)
    outage.recovered(name(1))
    outage.failed(name(1), "no", None)
    await asyncio.sleep(5)
    assert len(told(caplog)) == 1


@virtual
async def test_a_name_that_nobody_wants_any_more_has_neither_failed_nor_recovered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage("/#/consul", asyncio.get_running_loop())
    outage.failed(name(1), "no", None)
    outage.failed(name(2), "no", None)
    outage.forget(name(1))
    outage.forget(name(2))
    await asyncio.sleep(5)
    assert len(told(caplog)) == 1
    assert outage.names == 0


@virtual
async def test_one_bug_is_one_traceback_however_many_names_meet_it(caplog: pytest.LogCaptureFixture) -> None:
    def bug() -> Exception:
        try:
            return RuntimeError(int("ServiceID"))
        except ValueError as error:
            return error

    outage = Outage("/#/consul", asyncio.get_running_loop())
    for number in range(100):
        outage.failed(name(number), "bug", bug())
    assert len([record for record in caplog.records if record.exc_info]) == 1
    outage.close()


@virtual
async def test_every_failed_attempt_is_counted_and_the_last_one_kept_after_recovery() -> None:
    outage = Outage("/#/consul", asyncio.get_running_loop())
    assert (outage.errors, outage.last_error, outage.last_error_age) == (0, None, None)
    for reason in ("refused", "refused", "no route"):
        outage.failed(name(1), reason, None)
    outage.failed(name(2), "no route to 2", None)
    assert (outage.is_failing(name(1)), outage.is_failing(name(3))) == (True, False)
    outage.recovered(name(1))
    outage.forget(name(2))
    await asyncio.sleep(60)
    assert (outage.errors, outage.last_error, outage.last_error_age) == (4, "no route to 2", pytest.approx(60))
    assert (outage.is_failing(name(1)), outage.is_failing(name(2))) == (False, False)
    outage.close()
