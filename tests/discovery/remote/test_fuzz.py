"""Whatever a peer sends is a frame, a type that is not known, or BadFrame; and what is read says the same again."""

from __future__ import annotations

from contextlib import suppress

import pytest

from discovery.remote.frames import encode, from_agent, from_control
from discovery.remote.reading import BadFrame
from tests.fuzzing import Change, Rounds, changed, texts_of

INPUTS = 200


def read(text: str) -> None:
    for reader in (from_agent, from_control):
        with suppress(BadFrame):
            frame = reader(text)
            if frame is not None:
                assert reader(encode(frame)) == frame


def fuzz_frames(rounds: Rounds) -> int:
    return sum(Rounds(rounds.examples, rounds.seconds / 2).of(texts_of(end), read) for end in ("agent", "control"))


def test_whatever_is_sent_is_a_frame_or_a_bad_one() -> None:
    assert fuzz_frames(Rounds(INPUTS)) >= 2 * INPUTS


def test_what_is_changed_in_a_frame_is_that() -> None:
    frame = {"a": [1, {"b": 2}]}
    assert changed(frame, [Change(0, "value", 7)]) == {"a": 7}
    assert changed(frame, [Change(1, "away", 7)]) == {"a": [{"b": 2}]}
    assert changed(frame, [Change(3, "more", 7)]) == {"a": [1, {"b": 2, "b+": 7}]}
    assert changed(frame, [Change(1, "twice", 7)]) == {"a": [1, {"b": 2}, 1]}
    assert frame == {"a": [1, {"b": 2}]}


def test_a_defect_is_found_and_told_with_its_example() -> None:
    def fails(text: str) -> None:
        assert '"type"' not in text, text

    with pytest.raises(AssertionError, match="type"):
        Rounds(INPUTS).of(texts_of("control"), fails)
