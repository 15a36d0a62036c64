"""What Envoy itself answers, made to explain: each local reply gets an `l5d-err` header. Costs nothing otherwise.

The first mapper that matches is taken; the brain's own answers (unknown name, nothing behind it) match none.
"""

from __future__ import annotations

from functools import cache

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ExtensionFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption, RuntimeUInt32
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    LocalReplyConfig,
    ResponseMapper,
)
from google.protobuf.wrappers_pb2 import UInt32Value

from mesh.envoy import deadlines
from mesh.envoy.packing import packed

# Response flags, as Envoy's access log names them.
_NO_ENDPOINT = ("UH",)
_OVERFLOW = ("UO",)
_UNREACHABLE = ("UF", "URX")
_BROKEN = ("UC", "UR", "UPE", "LR")
_TOO_SLOW = ("UT", "SI")
_ENDED = (*_TOO_SLOW, "DT")
_ABORTED, _DELAYED = ("FI",), ("DI",)
_LIMITED = "local_rate_limited"  # its flag is set when the reply is made already


@cache
def local_replies(name: str, *, told: bool = True) -> LocalReplyConfig:
    """`name`: what the request asks for, as Envoy's format. Not `told`: the status alone, for callers that must not
    learn what is behind the router."""
    if not told:
        errors = _status(400, ComparisonFilter.GE)
        return LocalReplyConfig(
            mappers=[_hidden(_flags("NR", "NC"), 503), _hidden(_code_details("ext_proc"), 503), _hidden(errors)]
        )
    return LocalReplyConfig(
        mappers=[
            # A bound name always has a route (see listeners): this would be a defect, and is still no 404.
            _mapper(_flags("NR", "NC"), f"this proxy has no route for such a request to {name}", status=503, told=True),
            _mapper(
                _code_details("ext_proc"),
                f"{name} is not bound yet and the brain does not answer: it is restarting or busy; try again",
                status=503,
                told=True,
            ),
            _mapper(_code_details("overload"), "this proxy has no memory left and refuses requests until it has"),
            _mapper(_both(_code_details(deadlines.DETAILS), _status(400)), deadlines.UNREADABLE),
            _mapper(_both(_code_details(deadlines.DETAILS), _status(504)), deadlines.PASSED),
            _mapper(_flags(*_ABORTED), "fault injected by policy: an error on purpose"),
            _mapper(_code_details(_LIMITED), "too many requests: the rate limit of the policy is reached"),
            _mapper(_flags(*_NO_ENDPOINT), f"no usable endpoint for {name}: none known, or all unhealthy or ejected"),
            _mapper(_flags(*_OVERFLOW), f"too many requests at once for {name}: circuit breaker limit reached"),
            _mapper(_of_tls(), f"TLS with an endpoint of {name} failed: %UPSTREAM_TRANSPORT_FAILURE_REASON%"),
            _mapper(_flags(*_UNREACHABLE), f"no endpoint of {name} could be reached"),
            _mapper(
                _both(_flags(*_DELAYED), _flags(*_ENDED)),
                "fault injected by policy: a delay on purpose, and then the time was over",
            ),
            _mapper(_flags(*_TOO_SLOW), f"{name} did not answer in time"),
            _mapper(_flags(*_BROKEN), f"the endpoint of {name} broke off"),
            _mapper(_code_details("absolute_path_rejected"), "not a request for a path"),
            # Before there is a name: no Host header, malformed HTTP.
            _mapper(_status(400), "bad request: %RESPONSE_CODE_DETAILS%"),
        ]
    )


def _mapper(when: AccessLogFilter, said: str, *, status: int | None = None, told: bool = False) -> ResponseMapper:
    header = HeaderValueOption(
        header=HeaderValue(key="l5d-err", value=said), append_action=HeaderValueOption.ADD_IF_ABSENT
    )
    mapper = ResponseMapper(filter=when, headers_to_add=[header])
    if status is not None:
        mapper.status_code.CopyFrom(UInt32Value(value=status))
    if told:
        mapper.body_format_override.text_format_source.CopyFrom(DataSource(inline_string=said + "\n"))
    return mapper


def _hidden(when: AccessLogFilter, status: int | None = None) -> ResponseMapper:
    mapper = ResponseMapper(filter=when)
    if status is not None:
        mapper.status_code.CopyFrom(UInt32Value(value=status))
    mapper.body_format_override.text_format_source.CopyFrom(DataSource(inline_string="error %RESPONSE_CODE%\n"))
    return mapper


def _flags(*flags: str) -> AccessLogFilter:
    return AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=flags))


def _both(*filters: AccessLogFilter) -> AccessLogFilter:
    return AccessLogFilter(and_filter=AndFilter(filters=filters))


def _status(code: int, op: int = ComparisonFilter.EQ) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=code, runtime_key="tieline.local_reply_status")
    return AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=op, value=value)))


def _code_details(prefix: str) -> AccessLogFilter:
    return _expression(f"response.code_details.startsWith('{prefix}')")


def _of_tls() -> AccessLogFilter:
    failed = [_flags(*_UNREACHABLE), _expression("upstream.transport_failure_reason.startsWith('TLS')")]
    return AccessLogFilter(and_filter=AndFilter(filters=failed))


def _expression(text: str) -> AccessLogFilter:
    expression = ExpressionFilter(expression=text)
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel", typed_config=packed(expression)
        )
    )
