from __future__ import annotations

import pytest
from pydantic import ValidationError

from discovery.aws.settings import AwsConfig

ROLE = "arn:aws:iam::123456789012:role/tieline"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"region": ""}, "at least 1 character"),
        ({"endpoint_url": "127.0.0.1:4566"}, "http://host:port or https://host expected"),
        ({"endpoint_url": {"ecs": "ftp://x"}}, "http://host:port or https://host expected"),
        ({"endpoint_url": "http://key:secret@host"}, "no credentials in the address"),
        ({"role_arn": "tieline"}, "arn:aws:iam::123456789012:role/name expected"),
        ({"external_id": "x"}, "external_id is set but role_arn is not"),
        ({"timeout": 0}, "greater than 0"),
        ({"calls_per_second": 0}, "greater than 0"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AwsConfig.model_validate({"kind": "ecs", **wrong})


@pytest.mark.parametrize(
    "role", [ROLE, "arn:aws-cn:iam::123456789012:role/a/b", "arn:aws-us-gov:iam::123456789012:role/c"]
)
def test_a_role_is_accepted(role: str) -> None:
    assert AwsConfig(kind="ecs", role_arn=role).role_arn == role


def test_the_external_id_is_not_shown() -> None:
    given = {"kind": "ecs", "role_arn": ROLE, "external_id": "s3cret"}
    assert "s3cret" not in repr(AwsConfig.model_validate(given))
