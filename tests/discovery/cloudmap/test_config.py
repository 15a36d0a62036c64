from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from discovery.cloudmap.config import CloudMapConfig
from discovery.source import Freshness, Hears


def test_names_have_a_namespace_and_a_service() -> None:
    assert CloudMapConfig().root.show() == "/#/cloudmap"
    assert CloudMapConfig().name_segments == 2


def test_it_is_as_fresh_as_it_is_asked_for() -> None:
    assert CloudMapConfig.model_validate({"every": "5s"}).freshness == Freshness(Hears.POLL, 5.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"every": 0}, "greater than or equal to 0.01"),
        ({"health_every": "0s"}, "greater than or equal to 0.01"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"calls_per_second": 0}, "greater than 0"),
        ({"namespace": "prod"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        CloudMapConfig.model_validate({"kind": "cloudmap", **wrong})
    assert message in str(raised.value)


def test_boto3_is_not_loaded_with_the_configuration() -> None:
    code = "import sys, discovery.cloudmap.config; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
