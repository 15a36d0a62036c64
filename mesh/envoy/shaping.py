"""Filters that only some names need: routes switch them off, and a name that needs one says at its virtual host what it
is to do (see routes.OPTIONAL)."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from functools import cache, lru_cache

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, Route, VirtualHost
from envoy.config.route.v3.route_components_pb2 import RateLimit as EnvoyRateLimit
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import LocalRateLimitDescriptor, RateLimitDescriptor
from envoy.extensions.filters.common.fault.v3.fault_pb2 import FaultDelay
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.token_bucket_pb2 import TokenBucket
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.wrappers_pb2 import UInt32Value

from mesh.envoy.packing import fraction, packed, seconds
from mesh.policy.headers import Headers
from mesh.policy.settings import Settings
from mesh.policy.shaping import MOST_TOKENS, Abort, Change, Fault, RateLimit

FAULT = "fault"
RATE_LIMIT = "rate_limit"
_LONGEST = 8000
_STATS = "tieline"
_LIMITED = "limited"


@cache
def filters() -> tuple[HttpFilter, ...]:
    return (
        HttpFilter(name=RATE_LIMIT, typed_config=packed(LocalRateLimit(stat_prefix=_STATS))),
        HttpFilter(name=FAULT, typed_config=packed(HTTPFault())),
    )


def wanted(settings: Settings) -> dict[str, PackedAny]:
    """By filter; for all routes."""
    found: dict[str, PackedAny] = {}
    if settings.fault is not None and (fault := _fault(settings.fault, is_grpc=False)) is not None:
        found[FAULT] = fault
    if settings.rate_limit is not None:
        found[RATE_LIMIT] = _limited(settings.rate_limit)
    return found


def change_headers(host: VirtualHost, settings: Settings) -> None:
    _change(host.request_headers_to_add, host.request_headers_to_remove, settings.headers.request)
    _change(host.response_headers_to_add, host.response_headers_to_remove, settings.headers.response)


def shape_grpc(routes: Iterable[Route], settings: Settings) -> None:
    """gRPC calls that fail on purpose have a status of their own."""
    if settings.fault is None or settings.fault.abort is None or settings.fault.abort.grpc_status is None:
        return
    for route in routes:
        if route.match.HasField("grpc"):
            route.typed_per_filter_config[FAULT].CopyFrom(_fault(settings.fault, is_grpc=True))


@lru_cache(maxsize=256)
def _fault(fault: Fault, *, is_grpc: bool) -> PackedAny | None:
    config = HTTPFault(headers=having(fault.headers), disable_downstream_cluster_stats=True)
    if fault.delay is not None:
        delay = FaultDelay(fixed_delay=seconds(fault.delay.fixed), percentage=fraction(fault.delay.percent))
        config.delay.CopyFrom(delay)
    abort = _abort(fault.abort, is_grpc) if fault.abort is not None else None
    if abort is not None:
        config.abort.CopyFrom(abort)
    return packed(config) if config.HasField("delay") or config.HasField("abort") else None


def _abort(abort: Abort, is_grpc: bool) -> FaultAbort | None:
    """An HTTP request that is answered with a gRPC status gets 200, so it isn't."""
    percentage = fraction(abort.percent)
    if is_grpc and abort.grpc_status is not None:
        return FaultAbort(grpc_status=abort.grpc_status, percentage=percentage)
    return None if abort.status is None else FaultAbort(http_status=abort.status, percentage=percentage)


@lru_cache(maxsize=256)
def _limited(limit: RateLimit) -> PackedAny:
    always = RuntimeFractionalPercent(default_value=fraction(100))
    config = LocalRateLimit(
        stat_prefix=_STATS, filter_enabled=always, filter_enforced=always, rate_limited_as_resource_exhausted=True
    )
    bucket = _bucket(limit.burst or limit.requests, limit.requests, limit.per)
    if limit.headers:
        action = EnvoyRateLimit.Action(header_value_match=_counts(limit.headers))
        config.rate_limits.append(EnvoyRateLimit(actions=[action]))
        entry = RateLimitDescriptor.Entry(key="header_match", value=_LIMITED)
        config.descriptors.append(LocalRateLimitDescriptor(entries=[entry], token_bucket=bucket))
        # Envoy wants a bucket for all others, too.
        config.token_bucket.CopyFrom(_bucket(MOST_TOKENS, MOST_TOKENS, limit.per))
    else:
        config.token_bucket.CopyFrom(bucket)
    return packed(config)


def _bucket(most: int, fill: int, per: float) -> TokenBucket:
    return TokenBucket(max_tokens=most, tokens_per_fill=UInt32Value(value=fill), fill_interval=seconds(per))


def _counts(headers: Headers) -> EnvoyRateLimit.Action.HeaderValueMatch:
    return EnvoyRateLimit.Action.HeaderValueMatch(descriptor_value=_LIMITED, headers=having(headers))


def _change(added: MutableSequence[HeaderValueOption], removed: MutableSequence[str], change: Change) -> None:
    """Envoy removes first. What stands there already is to be restored for the service, and a policy knows better."""
    for each in [option for option in added if option.header.key in change.remove]:
        added.remove(each)
    removed.extend(change.remove)
    added.extend(_option(*each, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD) for each in change.set)
    added.extend(_option(*each, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD) for each in change.add)


def _option(name: str, value: str, action: HeaderValueOption.HeaderAppendAction.ValueType) -> HeaderValueOption:
    header = HeaderValue(key=name, value=literal(value))
    return HeaderValueOption(header=header, append_action=action, keep_empty_value=True)


def literal(value: str) -> str:
    """Envoy takes `%` for the beginning of a substitution, and refuses very long values: a capture can be one."""
    return value[:_LONGEST].replace("%", "%%")


def having(headers: Iterable[tuple[str, str]]) -> list[HeaderMatcher]:
    """All of these, with these values."""
    return [HeaderMatcher(name=name, string_match=StringMatcher(exact=value)) for name, value in headers]
