"""What boto3 raises, as what a source may raise. A text is the same for two calls that fail for one reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from discovery.source import Misconfigured, SourceError, Unavailable

_THROTTLED = frozenset(
    (
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
        "TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "PriorRequestNotComplete",
        "EC2ThrottledException", "429",
    )
)  # fmt: skip
_DENIED = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"))
_EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"))
_CLOCK = frozenset(("RequestExpired", "RequestTimeTooSkewed"))
_UNKNOWN_KEY = frozenset(
    (
        "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "AuthFailure", "OptInRequired",
        "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
        "MissingAuthenticationTokenException", "IncompleteSignatureException", "NotAuthorized",
    )
)  # fmt: skip
_EXCERPT = 200


class Refused(Misconfigured):
    """AWS answers that it can't be done as it was asked: `code` is AWS's word, such as `ClusterNotFoundException`."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Throttled(Unavailable):
    """AWS is asked too often, by whomever."""


@dataclass(frozen=True, slots=True)
class Question:
    """`service`: as boto3 calls it; `operation`: as IAM does (`ListTasks`); `where`: region or address."""

    service: str
    operation: str
    where: str
    role: str | None = None

    def __str__(self) -> str:
        what = f"{self.service}:{self.operation}" if self.operation else self.service
        return f"{what} in {self.where}"


def told(error: Exception, asked: Question) -> SourceError:
    """`error` is one of `expected()`."""
    from botocore import exceptions

    match error:
        case SourceError():
            return error
        case exceptions.ClientError():
            return _refusal(error.response, _of(error.operation_name, asked))
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError() | exceptions.ProfileNotFound():
            return Misconfigured(f"{asked} can't be asked: {error}; see `profile`, or the host's role")
        case exceptions.TokenRetrievalError() | exceptions.SSOError() | exceptions.UnauthorizedSSOTokenError():
            return Unavailable(f"{asked} can't be asked: {error}; log in again (aws sso login)")
        case exceptions.CredentialRetrievalError() | exceptions.MetadataRetrievalError():
            return Unavailable(f"{asked} can't be asked: AWS's credentials can't be fetched: {_short(str(error))}")
        case exceptions.ReadTimeoutError() | exceptions.ConnectTimeoutError():
            return Unavailable(f"{asked} has not been answered in time (timeout)")
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            return Unavailable(f"{asked} can't be asked: {_short(str(error))}")
        case exceptions.BotoCoreError():
            return Misconfigured(f"{asked} can't be asked: {_short(str(error))}")
        case OSError():
            return Unavailable(f"{asked} can't be asked: {_short(str(error))}")
    return Unavailable(f"the answer to {asked} makes no sense: {type(error).__name__}")


def expected() -> tuple[type[Exception], ...]:
    """What a call may raise. botocore's parsers meet an answer of another shape than the model's with the last ones."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    shapes = (AttributeError, TypeError, KeyError, IndexError, ValueError)
    return (SourceError, BotoCoreError, ClientError, ResponseParserError, OSError, *shapes)


def _refusal(response: dict[str, Any], asked: Question) -> SourceError:
    code = str(response.get("Error", {}).get("Code", ""))
    said = _short(str(response.get("Error", {}).get("Message", "")))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status == 429:
        return Throttled(f"AWS throttles {asked}: whatever asks it shares one limit; see calls_per_second")
    if code in _DENIED:
        who = asked.role or "these credentials"
        return Misconfigured(f"AWS denies {asked} ({code}): allow {asked.service}:{asked.operation} to {who}")
    if code in _EXPIRED:
        return Unavailable(f"AWS refuses {asked}: the session of the credentials has expired ({code})")
    if code in _CLOCK or (code in _UNKNOWN_KEY and "expired" in said.lower()):
        return Unavailable(f"AWS refuses {asked}: this host's clock is wrong ({code})")
    if code in _UNKNOWN_KEY:
        return Misconfigured(f"AWS does not accept the credentials for {asked} ({code}): correct or renew them")
    if status >= 500:
        return Unavailable(f"AWS can't answer {asked} now ({status} {code})")
    return Refused(f"AWS refuses {asked}: {code}: {said}", code)


def _of(operation: str, asked: Question) -> Question:
    """What really was asked: a role is assumed on the way."""
    if operation != asked.operation and operation.startswith("AssumeRole"):
        return Question("sts", operation, f"{asked.where} for {asked.role or 'the profile'}")
    return asked


def _short(text: str) -> str:
    return " ".join(text.split())[:_EXCERPT]
