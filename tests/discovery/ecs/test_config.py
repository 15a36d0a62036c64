from __future__ import annotations

import pytest
from pydantic import ValidationError

from discovery.ecs.config import EcsConfig
from discovery.source import Freshness, Hears


def test_the_port_may_be_left_away() -> None:
    config = EcsConfig()
    assert config.root.show() == "/#/ecs"
    assert (config.name_segments, config.fewest_segments) == (3, 2)


def test_it_is_as_fresh_as_its_polls_or_its_events() -> None:
    assert EcsConfig(poll_max=20).freshness == Freshness(Hears.POLL, 20)
    assert EcsConfig(queue_url="https://sqs.eu-west-1.amazonaws.com/1/q").freshness == Freshness(Hears.EVENTS)


def test_a_port_may_be_a_number() -> None:
    assert EcsConfig.model_validate({"port": 8080}).port == "8080"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"poll_min": "1m", "poll_max": "2s"}, r"poll_min \(60 s\) is more than poll_max \(2 s\)"),
        ({"poll_min": 0}, "greater than or equal to 0.05"),
        ({"port": ""}, "at least 1 character"),
        ({"port": True}, "valid string"),
        ({"queue_url": "arn:aws:sqs:eu-west-1:1:q"}, "http://host:port or https://host expected"),
        ({"cluster": "prod"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EcsConfig.model_validate({"kind": "ecs", **wrong})
