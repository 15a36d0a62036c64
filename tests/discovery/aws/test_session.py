"""What boto3 makes of the configuration. Nothing is asked."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest
from botocore.credentials import Credentials

from discovery.aws.session import Login, Session, _account
from discovery.source import Misconfigured


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def credentials(tmp_path: FilePath, profile: str = "default") -> None:
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = s3cret\nregion = eu-north-1\n"
    (tmp_path / "credentials").write_text(f"[{profile}]\n{keys}")


def test_without_a_region_it_is_said_what_to_set() -> None:
    with pytest.raises(Misconfigured, match="set `region`"):
        Session(Login(), 1).client("ecs")


def test_credentials_may_turn_up_later(tmp_path: FilePath) -> None:
    session = Session(Login(region="eu-west-1"), 1)
    with pytest.raises(Misconfigured, match="no AWS credentials"):
        session.client("ecs")
    credentials(tmp_path)
    assert session.client("ecs").meta.region_name == "eu-west-1"


def test_a_profile_has_credentials_and_a_region(tmp_path: FilePath) -> None:
    credentials(tmp_path, "team")
    session = Session(Login(profile="team"), 1)
    assert session.client("ecs").meta.endpoint_url == "https://ecs.eu-north-1.amazonaws.com"
    assert session.region == "eu-north-1"


def test_there_is_one_address_for_all_services_or_one_for_each(tmp_path: FilePath) -> None:
    credentials(tmp_path)
    one = Session(Login(endpoint_url="http://127.0.0.1:1"), 1)
    assert {one.client(each).meta.endpoint_url for each in ("ecs", "sqs")} == {"http://127.0.0.1:1"}
    each = Session(Login(endpoint_url={"ecs": "http://127.0.0.1:1"}), 1)
    assert each.client("ecs").meta.endpoint_url == "http://127.0.0.1:1"
    assert each.client("sqs").meta.endpoint_url == "https://sqs.eu-north-1.amazonaws.com"


def test_nothing_is_asked_again_behind_the_back_of_the_bucket(tmp_path: FilePath) -> None:
    credentials(tmp_path)
    assert Session(Login(), 1).client("ecs").meta.config.retries["total_max_attempts"] == 1


def test_a_role_tells_its_account(tmp_path: FilePath) -> None:
    credentials(tmp_path)
    session = Session(Login(role_arn="arn:aws:iam::123456789012:role/x"), 1)
    session.client("ecs")
    assert session.account == "123456789012"


@pytest.mark.parametrize(
    ("found", "account"),
    [
        (Credentials("ASIAQNZGKIQY56JQ7WML", "s"), "029608264753"),
        (Credentials("AKIAIOSFODNN7EXAMPLE", "s", account_id="111122223333"), "111122223333"),
        (Credentials("testing", "s"), "testing"),
    ],
)
def test_an_account_is_told_apart_without_asking(found: Credentials, account: str) -> None:
    assert _account(found) == account
