"""From configuration to boto3's clients. Everything here may take time: it is called in a thread."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import SecretStr

from discovery.source import Misconfigured

LONGEST_WAIT_SECONDS = 20
"""Of SQS's long poll."""
_CONNECT_SECONDS = 5.0
_KEY = re.compile(r"A[A-Z]{3}([A-Z2-7]{16})")


@dataclass(frozen=True, slots=True)
class Login:
    region: str | None = None
    endpoint_url: str | Mapping[str, str] | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: SecretStr | None = None
    timeout: float = 10.0

    def endpoint(self, service: str) -> str | None:
        return self.endpoint_url if isinstance(self.endpoint_url, str | None) else self.endpoint_url.get(service)


@dataclass(slots=True)
class Session:
    """Found at the first call, and looked for again while credentials are missing: they may turn up later."""

    login: Login
    threads: int
    region: str = ""
    account: str = ""
    """Its number where it can be known without a call, else what stands for it."""
    _boto: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """Raises Misconfigured, and whatever botocore raises."""
        with self._lock:
            if self._boto is None:
                self._boto = self._found()
            return self._boto.client(service, **self._arguments(service))

    def _found(self) -> Any:
        import boto3
        from botocore.session import Session as BotocoreSession

        login, session = self.login, BotocoreSession(profile=self.login.profile)
        region = login.region or session.get_config_variable("region")
        if not region:
            raise Misconfigured("no AWS region is known: set `region`, or AWS_DEFAULT_REGION in the environment")
        credentials = session.get_credentials()
        if credentials is None:
            raise Misconfigured(
                "no AWS credentials are found: give the host or the task a role, or set `profile`,"
                " or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
            )
        self.region = region
        if login.role_arn is None:
            self.account = _account(credentials.get_frozen_credentials())
        else:
            self.account = login.role_arn.split(":")[4]
            _assume(session, credentials, login, partial(session.create_client, **self._arguments("sts")))
        return boto3.session.Session(botocore_session=session, region_name=region)

    def _arguments(self, service: str) -> dict[str, Any]:
        from botocore.config import Config

        endpoint = self.login.endpoint(service)
        config = Config(
            connect_timeout=min(self.login.timeout, _CONNECT_SECONDS),
            read_timeout=self.login.timeout + (LONGEST_WAIT_SECONDS if service == "sqs" else 0),
            # Whoever asks again takes another token of the bucket first.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=self.threads,
            user_agent_extra="tieline",
            inject_host_prefix=endpoint is None,
        )
        return {"region_name": self.region, "endpoint_url": endpoint, "config": config}


def _assume(session: Any, source: Any, login: Login, client: Any) -> None:
    """From now on the session's credentials are those of the role, fetched when they are needed first."""
    from botocore import credentials

    extra = {"ExternalId": login.external_id.get_secret_value()} if login.external_id else {}
    fetcher = credentials.AssumeRoleCredentialFetcher(
        client, source, login.role_arn, extra_args={"RoleSessionName": "tieline", **extra}
    )
    assumed = credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    class Assumed(credentials.CredentialProvider):  # type: ignore[misc]
        METHOD = "tieline-assume-role"

        def load(self) -> Any:
            return assumed

    session.register_component("credential_provider", credentials.CredentialResolver([Assumed()]))
    session._credentials = None


def _account(credentials: Any) -> str:
    """An access key id holds the number of its account; this is used only to tell accounts apart."""
    if credentials.account_id:
        return str(credentials.account_id)
    key = _KEY.fullmatch(credentials.access_key)
    if key is None:
        return str(credentials.access_key)
    try:
        number = int.from_bytes(base64.b32decode(key[1])[:6], "big")
    except binascii.Error:
        return str(credentials.access_key)
    return f"{(number & 0x7FFFFFFFFF80) >> 7:012d}"
