"""Spans, sent to a collector. Who calls with a trace context decides by it; of all others a share is sampled.

As OTLP, Envoy reads and writes W3C's header alone, and passes B3's on untouched. In Zipkin's format it reads B3's, else
W3C's, and writes both.
"""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.http_service_pb2 import HttpService
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.trace.v3.http_tracer_pb2 import Tracing as Provider
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.extensions.tracers.opentelemetry.samplers.v3.parent_based_sampler_pb2 import ParentBasedSamplerConfig
from envoy.extensions.tracers.opentelemetry.samplers.v3.trace_id_ratio_based_sampler_pb2 import (
    TraceIdRatioBasedSamplerConfig,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from envoy.type.v3.percent_pb2 import FractionalPercent, Percent
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from mesh.envoy.packing import packed, seconds

COLLECTOR = "tieline-otlp"
UPSTREAM_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_SAMPLERS = "envoy.tracers.opentelemetry.samplers."
_TIMEOUT_SECONDS = 5.0
_MILLIONTHS_PER_PERCENT = 10_000


@dataclass(frozen=True, slots=True)
class Collector:
    """`path`: over HTTP; empty: OTLP over gRPC."""

    host: str
    port: int
    path: str = ""
    zipkin: bool = False

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tracing:
    collector: Collector
    percent: float
    service: str


def tracing(router: str, said: Tracing) -> HttpConnectionManager.Tracing:
    zipkin = said.collector.zipkin
    return HttpConnectionManager.Tracing(
        provider=_zipkin(said.collector) if zipkin else _otlp(said),
        # Not decided by a header that only Envoy knows.
        client_sampling=Percent(value=0),
        random_sampling=Percent(value=said.percent) if zipkin else None,
        operation="%ROUTE_NAME%",
        custom_tags=[
            CustomTag(tag="tieline.router", literal=CustomTag.Literal(value=router)),
            CustomTag(tag="tieline.name", value="%ROUTE_NAME%"),
            CustomTag(tag="tieline.bound", value="%UPSTREAM_CLUSTER_RAW%"),
            CustomTag(tag="url.path", value="%PATH(NQ)%"),
        ],
        # Envoy's own tag has the query, in which secrets stand.
        max_path_tag_length=UInt32Value(value=0),
    )


def request_id(said: Tracing) -> UuidRequestIdConfig:
    """The request's id stays what it is. Zipkin's tracer has no sampler: there the id decides, as Envoy does it."""
    by_id = BoolValue(value=said.collector.zipkin)
    return UuidRequestIdConfig(pack_trace_reason=BoolValue(value=False), use_request_id_for_trace_sampling=by_id)


def _otlp(said: Tracing) -> Provider.Http:
    config = OpenTelemetryConfig(service_name=said.service, sampler=_sampler(said.percent))
    if said.collector.path:
        config.http_service.CopyFrom(_over_http(said.collector))
    else:
        grpc = GrpcService.EnvoyGrpc(cluster_name=COLLECTOR, authority=said.collector.authority)
        config.grpc_service.CopyFrom(GrpcService(envoy_grpc=grpc, timeout=seconds(_TIMEOUT_SECONDS)))
    return Provider.Http(name="envoy.tracers.opentelemetry", typed_config=packed(config))


def _zipkin(collector: Collector) -> Provider.Http:
    config = ZipkinConfig(
        collector_cluster=COLLECTOR,
        collector_hostname=collector.authority,
        collector_endpoint=collector.path,
        collector_endpoint_version=ZipkinConfig.HTTP_JSON,
        trace_id_128bit=True,
        # A span of its own for the proxy, below the caller's.
        shared_span_context=BoolValue(value=False),
        trace_context_option=ZipkinConfig.USE_B3_WITH_W3C_PROPAGATION,
    )
    return Provider.Http(name="envoy.tracers.zipkin", typed_config=packed(config))


def collector_cluster(collector: Collector) -> Cluster:
    address = Address(socket_address=SocketAddress(address=collector.host, port_value=collector.port))
    endpoints = LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address))])
    cluster = Cluster(
        name=COLLECTOR,
        type=Cluster.STRICT_DNS,
        connect_timeout=seconds(1),
        load_assignment=ClusterLoadAssignment(cluster_name=COLLECTOR, endpoints=[endpoints]),
    )
    if not collector.path:
        http2 = UpstreamHttp.ExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
        cluster.typed_extension_protocol_options[UPSTREAM_HTTP].CopyFrom(
            packed(UpstreamHttp(explicit_http_config=http2))
        )
    return cluster


def _over_http(collector: Collector) -> HttpService:
    uri = f"http://{collector.authority}{collector.path}"
    return HttpService(http_uri=HttpUri(uri=uri, cluster=COLLECTOR, timeout=seconds(_TIMEOUT_SECONDS)))


def _sampler(percent: float) -> TypedExtensionConfig:
    share = FractionalPercent(numerator=round(percent * _MILLIONTHS_PER_PERCENT), denominator=FractionalPercent.MILLION)
    ratio = packed(TraceIdRatioBasedSamplerConfig(sampling_percentage=share))
    others = TypedExtensionConfig(name=f"{_SAMPLERS}trace_id_ratio_based", typed_config=ratio)
    config = packed(ParentBasedSamplerConfig(wrapped_sampler=others))
    return TypedExtensionConfig(name=f"{_SAMPLERS}parent_based", typed_config=config)
