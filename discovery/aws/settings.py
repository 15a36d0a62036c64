"""The keys that every source which asks AWS has."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from discovery.aws.api import Aws
from discovery.aws.session import Login
from discovery.settings import Duration, SourceConfig

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/.+")


def _url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError(f"http://host:port or https://host expected: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"http://host:port or https://host expected, not {text!r}")
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in the address: AWS's own files and environment hold them")
    return text.rstrip("/")


def _role(text: str) -> str:
    if not _ROLE.fullmatch(text):
        raise ValueError(f"arn:aws:iam::123456789012:role/name expected, not {text!r}")
    return text


Url = Annotated[str, AfterValidator(_url)]


class AwsConfig(SourceConfig):
    region: Annotated[str, Field(min_length=1)] | None = None
    """As in AWS's own files and environment (AWS_DEFAULT_REGION, the profile) unless said."""
    endpoint_url: Url | dict[str, Url] | None = None
    """Where to ask instead of AWS: one address, or one per service: `{ecs: …, ec2: …, sqs: …, sts: …}`."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """Of AWS's own configuration files."""
    role_arn: Annotated[str, AfterValidator(_role)] | None = None
    """The role to assume, by the credentials found; it is assumed again before its session ends."""
    external_id: SecretStr | None = None
    """What the role's trust policy may ask for."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """For an answer."""
    calls_per_second: Annotated[float, Field(gt=0)] = 5.0
    """At the most, to each service of one account and region, by all sources of this process together."""

    @model_validator(mode="after")
    def _external_id_is_of_a_role(self) -> Self:
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id is set but role_arn is not")
        return self

    @asynccontextmanager
    async def opened(self, *services: str) -> AsyncIterator[Aws]:
        """To ask these services (`ecs`, `sqs`, …). What is wrong with region or credentials is raised by `call`."""
        aws = Aws(self._login(), services, timeout=self.timeout, calls_per_second=self.calls_per_second)
        try:
            yield aws
        finally:
            aws.close()

    def _login(self) -> Login:
        return Login(
            region=self.region,
            endpoint_url=self.endpoint_url,
            profile=self.profile,
            role_arn=self.role_arn,
            external_id=self.external_id,
            timeout=self.timeout,
        )
