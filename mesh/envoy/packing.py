"""Protobuf values that come up everywhere: `Any`, durations, wrapped numbers."""

from __future__ import annotations

from datetime import timedelta

from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message


def packed(message: Message) -> PackedAny:
    any_ = PackedAny()
    any_.Pack(message, deterministic=True)
    return any_


def duration(value: timedelta) -> Duration:
    return Duration(seconds=value.days * 86400 + value.seconds, nanos=value.microseconds * 1000)


def seconds(value: float) -> Duration:
    return duration(timedelta(seconds=value))


def fraction(percent: float) -> FractionalPercent:
    """To one in a million; what is not 0 does not become it."""
    numerator = max(round(percent * 10_000), 1 if percent else 0)
    return FractionalPercent(numerator=numerator, denominator=FractionalPercent.MILLION)


def text(value: str) -> str:
    """A protobuf string is valid Unicode; what is not is shown with backslashes."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
