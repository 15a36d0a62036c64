"""The parser: the same events however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.marathon.sse import Event, Parser, TooLong

STREAM = (
    b"event: event_stream_attached\r\ndata: {}\r\n\r\n"  # as Jetty writes it
    b"\r\n"  # its heartbeat
    b': a comment\nevent: status_update_event\ndata: {"a":\ndata: "\xc3\xa9"}\n\n'
    b"data:no blank\r\r"
    b"event: nothing\n\nid: 7\nretry: 5\nunknown\ndata\n\n"
)
EVENTS = [
    Event("event_stream_attached", "{}"),
    Event("status_update_event", '{"a":\n"é"}'),
    Event("message", "no blank"),
    Event("message", ""),
]


def parsed(*chunks: bytes) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks if chunk for event in parser.feed(chunk)]


def test_every_cut_in_two_gives_the_same_events() -> None:
    for at in range(len(STREAM) + 1):
        assert parsed(STREAM[:at], STREAM[at:]) == EVENTS, at


def test_byte_by_byte_gives_the_same_events() -> None:
    assert parsed(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == EVENTS


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert parsed(*(STREAM[a:b] for a, b in pairwise(places))) == EVENTS


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1), max_size=8))
def test_no_bytes_break_it(chunks: list[bytes]) -> None:
    assert parsed(*chunks) == parsed(b"".join(chunks))


def test_an_event_that_has_not_ended_is_not_told() -> None:
    assert parsed(b"event: a\ndata: {}\n") == []


@pytest.mark.parametrize("chunk", [b"data: ....", b"data: x\n"])
def test_an_event_without_end_is_given_up(chunk: bytes) -> None:
    parser = Parser(most=100)
    for _ in range(100 // len(chunk) - 2):
        assert parser.feed(chunk) == []
    with pytest.raises(TooLong, match="more than 100 bytes"):
        parser.feed(chunk * 20)


def test_many_events_are_not_one_that_is_too_long() -> None:
    parser = Parser(most=100)
    assert sum(len(parser.feed(b"data: 0123456789\n\n")) for _ in range(100)) == 100
