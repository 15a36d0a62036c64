"""A line of JSON for each request, or for each that failed. Envoy writes it, after up to a second."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    ComparisonFilter,
    OrFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from envoy.config.core.v3.base_pb2 import RuntimeUInt32
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from google.protobuf.struct_pb2 import Struct

from mesh.envoy.labels import TABLE
from mesh.envoy.packing import packed


@dataclass(frozen=True, slots=True)
class Log:
    path: str
    errors_only: bool
    query: bool


def access_log(router: str, log: Log) -> AccessLog:
    line = Struct()
    line.update({key: value.replace("{router}", router) for key, value in _FIELDS.items()})
    if log.query:
        line.update({"path": "%REQ(:PATH)%"})
    file = FileAccessLog(path=log.path, log_format=SubstitutionFormatString(json_format=line))
    found = AccessLog(name="envoy.access_loggers.file", typed_config=packed(file))
    if log.errors_only:
        found.filter.CopyFrom(AccessLogFilter(or_filter=OrFilter(filters=[_server_errors(), _flagged()])))
    return found


_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "router": "{router}",
    "name": "%ROUTE_NAME%",
    "bound": "%UPSTREAM_CLUSTER_RAW%",
    "table": TABLE,
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "caller": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "endpoint": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "trace": "%REQ(TRACEPARENT?X-B3-TRACEID)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""What a line holds, in Envoy's format. No header but those that tell requests apart: others bear secrets."""


def _server_errors() -> AccessLogFilter:
    value = RuntimeUInt32(default_value=500, runtime_key="tieline.access_log_status")
    comparison = ComparisonFilter(op=ComparisonFilter.GE, value=value)
    return AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=comparison))


def _flagged() -> AccessLogFilter:
    """With any flag at all."""
    return AccessLogFilter(response_flag_filter=ResponseFlagFilter())
