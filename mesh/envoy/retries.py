"""When Envoy sends a request again. What a service may have begun to work on: only if the method allows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import UInt32Value

from mesh.envoy.packing import packed, seconds
from mesh.policy.resilience import GRPC, UNSENT
from mesh.policy.settings import Settings

STATUSES = "retriable-status-codes"


def any_method(settings: Settings) -> RetryPolicy | None:
    """After failures at which the service can't have begun to work."""
    return _policy(settings, tuple(each for each in settings.retries.conditions if each in UNSENT))


def idempotent(settings: Settings) -> RetryPolicy | None:
    """For the methods that may be sent again; None if these are treated as all others are."""
    retries = settings.retries
    conditions = tuple(each for each in retries.conditions if each not in GRPC)
    if not retries.methods or (set(conditions) <= set(UNSENT) and not retries.statuses):
        return None
    return _policy(settings, conditions, statuses=True)


def grpc(settings: Settings) -> RetryPolicy | None:
    """For gRPC, if it differs: its conditions are said of gRPC alone. All its calls are POSTs."""
    retries = settings.retries
    conditions = tuple(
        each for each in retries.conditions if each in GRPC or each in UNSENT or "POST" in retries.methods
    )
    if set(conditions) <= set(UNSENT):
        return None
    return _policy(settings, conditions, statuses="POST" in retries.methods)


def of_methods(methods: Iterable[str]) -> HeaderMatcher:
    regex = RegexMatcher(regex="|".join(sorted(methods)))
    return HeaderMatcher(name=":method", string_match=StringMatcher(safe_regex=regex))


@lru_cache(maxsize=256)
def _policy(settings: Settings, conditions: tuple[str, ...], *, statuses: bool = False) -> RetryPolicy | None:
    retries, codes = settings.retries, settings.retries.statuses if statuses else ()
    said = [*conditions, *((STATUSES,) if codes else ())]
    if not said or not retries.num_retries:
        return None
    previous = RetryPolicy.RetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(PreviousHostsPredicate())
    )
    policy = RetryPolicy(
        retry_on=",".join(said),
        retriable_status_codes=codes,
        num_retries=UInt32Value(value=retries.num_retries),
        retry_host_predicate=[previous],
        # A dead endpoint is the least busy one, so that least-request picks it again and again: of two, 15 times in 16.
        host_selection_retry_max_attempts=128,
        retry_back_off=RetryPolicy.RetryBackOff(
            base_interval=seconds(retries.backoff.base),
            max_interval=seconds(max(retries.backoff.base, retries.backoff.max)),
        ),
    )
    if settings.timeout.per_try is not None:
        policy.per_try_timeout.CopyFrom(seconds(settings.timeout.per_try))
    return policy
