from __future__ import annotations

from discovery.marathon.doubts import POSTED_SECONDS, QUIET_SECONDS, Doubts


def test_a_change_of_a_group_that_nothing_explains_is_read_soon() -> None:
    doubts = Doubts()
    doubts.regrouped(100)
    doubts.regrouped(100.5)
    assert doubts.due == 100 + QUIET_SECONDS


def test_a_change_of_an_app_explains_that_of_its_group_in_either_order() -> None:
    doubts = Doubts()
    doubts.regrouped(100)
    doubts.posted(100.1)
    assert doubts.due is None
    doubts.posted(200)
    doubts.regrouped(200.1)
    assert doubts.due is None


def test_one_explains_only_one() -> None:
    doubts = Doubts()
    doubts.posted(100)
    doubts.regrouped(100)
    doubts.regrouped(100)
    assert doubts.due is not None


def test_an_old_change_explains_nothing() -> None:
    doubts = Doubts()
    doubts.posted(100)
    doubts.regrouped(100 + POSTED_SECONDS + 0.1)
    assert doubts.due is not None


def test_an_event_that_says_nothing_is_not_explained_by_others() -> None:
    doubts = Doubts()
    doubts.regrouped(100)
    doubts.anything(100.5)
    doubts.posted(100.6)
    assert doubts.due == 100 + QUIET_SECONDS


def test_reading_dispels_them_and_the_next_read_keeps_its_distance() -> None:
    doubts = Doubts()
    doubts.anything(100)
    doubts.dispel()
    assert doubts.due is None
    doubts.not_before = 160
    doubts.anything(101)
    assert doubts.due == 160
