from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from discovery.aws.failures import Question, Refused, Throttled, expected, told
from discovery.source import Misconfigured, SourceError, Unavailable

ASKED = Question("ecs", "ListTasks", "eu-west-1")


def refusal(code: str, status: int = 400, message: str = "", operation: str = "ListTasks") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (refusal("AccessDeniedException"), Misconfigured, "allow ecs:ListTasks to these credentials"),
        (refusal("UnauthorizedOperation", 403), Misconfigured, "AWS denies ecs:ListTasks in eu-west-1"),
        (refusal("ExpiredTokenException"), Unavailable, "session of the credentials has expired"),
        (refusal("UnrecognizedClientException"), Misconfigured, "does not accept the credentials"),
        (refusal("InvalidSignatureException", message="Signature expired: x"), Unavailable, "clock is wrong"),
        (refusal("ThrottlingException"), Throttled, "AWS throttles ecs:ListTasks in eu-west-1"),
        (refusal("RequestLimitExceeded", 503), Throttled, "throttles"),
        (refusal("429", 429), Throttled, "throttles"),
        (refusal("ServerException", 500), Unavailable, "can't answer ecs:ListTasks in eu-west-1 now"),
        (refusal("ClusterNotFoundException", message="Cluster not found."), Refused, "Cluster not found."),
        (exceptions.NoCredentialsError(), Misconfigured, "Unable to locate credentials"),
        (exceptions.ProfileNotFound(profile="x"), Misconfigured, r"profile \(x\)"),
        (exceptions.UnauthorizedSSOTokenError(), Unavailable, "aws sso login"),
        (exceptions.CredentialRetrievalError(provider="a", error_msg="b"), Unavailable, "can't be fetched"),
        (exceptions.ReadTimeoutError(endpoint_url="http://a"), Unavailable, "not been answered in time"),
        (exceptions.EndpointConnectionError(endpoint_url="http://a"), Unavailable, "Could not connect"),
        (exceptions.SSLError(endpoint_url="http://a", error="b"), Unavailable, "SSL validation failed"),
        (exceptions.ParamValidationError(report="c"), Misconfigured, "Parameter validation failed"),
        (ResponseParserError("d"), Unavailable, "makes no sense: ResponseParserError"),
        (AttributeError("'list' object has no attribute 'get'"), Unavailable, "makes no sense: AttributeError"),
        (PermissionError(13, "denied"), Unavailable, "can't be asked"),
        (Unavailable("as it is"), Unavailable, "^as it is$"),
    ],
)
def test_what_boto3_raises_becomes_what_a_source_may_raise(
    error: Exception, kind: type[SourceError], text: str
) -> None:
    assert isinstance(error, expected())
    found = told(error, ASKED)
    assert type(found) is kind
    with pytest.raises(kind, match=text):
        raise found


def test_a_refusal_has_awss_word_for_it() -> None:
    found = told(refusal("ServiceNotFoundException"), ASKED)
    assert isinstance(found, Refused)
    assert found.code == "ServiceNotFoundException"


def test_a_denial_of_the_role_names_sts_and_the_role() -> None:
    role = "arn:aws:iam::1:role/x"
    found = told(refusal("AccessDenied", 403, operation="AssumeRole"), Question("ecs", "ListTasks", "r", role))
    assert "sts:AssumeRole" in str(found)
    assert role in str(found)


def test_the_text_is_the_same_for_the_same_cause() -> None:
    first = refusal("UnauthorizedOperation", 403, "Encoded authorization failure message: aaaa")
    second = refusal("UnauthorizedOperation", 403, "Encoded authorization failure message: bbbb")
    assert str(told(first, ASKED)) == str(told(second, ASKED))
