"""TLS: a listener's side, and the secrets that the brain serves beside it (SDS), so that they change without it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    TlsCertificate,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext
from google.protobuf.wrappers_pb2 import BoolValue

from mesh.envoy.packing import duration, packed

SOCKET = "envoy.transport_sockets.tls"
_VERSIONS = {1.2: TlsParameters.TLSv1_2, 1.3: TlsParameters.TLSv1_3}


@dataclass(frozen=True, slots=True)
class ServerTls:
    """`certificate`, `authorities`: the names of secrets."""

    certificate: str
    authorities: str | None = None
    require_client_certificate: bool = False
    min_version: float = 1.2


def server_socket(tls: ServerTls) -> TransportSocket:
    common = CommonTlsContext(
        # The newest is said, too: Envoy's own default differs between its two sides.
        tls_params=versions(tls.min_version),
        tls_certificate_sds_secret_configs=[secret_source(tls.certificate)],
        alpn_protocols=["h2", "http/1.1"],
    )
    if tls.authorities is not None:
        common.validation_context_sds_secret_config.CopyFrom(secret_source(tls.authorities))
    context = DownstreamTlsContext(
        common_tls_context=common, require_client_certificate=BoolValue(value=tls.require_client_certificate)
    )
    return TransportSocket(name=SOCKET, typed_config=packed(context))


def forward_client(manager: HttpConnectionManager, tls: ServerTls | None) -> None:
    """Services learn from x-forwarded-client-cert who the caller is; what a caller says there is never passed on."""
    if tls is not None and tls.authorities is not None:
        manager.forward_client_cert_details = HttpConnectionManager.SANITIZE_SET
        manager.set_current_client_cert_details.subject.value = True
        manager.set_current_client_cert_details.uri = manager.set_current_client_cert_details.dns = True


def versions(oldest: float) -> TlsParameters:
    return TlsParameters(
        tls_minimum_protocol_version=_VERSIONS[oldest], tls_maximum_protocol_version=TlsParameters.TLSv1_3
    )


def secret_source(name: str) -> SdsSecretConfig:
    source = ConfigSource(
        ads=AggregatedConfigSource(),
        resource_api_version=ApiVersion.V3,
        # What waits for a secret that does not come holds up what comes behind it.
        initial_fetch_timeout=duration(timedelta(seconds=1)),
    )
    return SdsSecretConfig(name=name, sds_config=source)


def certificate_secret(name: str, chain: bytes, private: bytes) -> Secret:
    return Secret(
        name=name,
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(inline_bytes=chain), private_key=DataSource(inline_bytes=private)
        ),
    )


def authorities_secret(name: str, bundle: bytes) -> Secret:
    trusted = CertificateValidationContext(trusted_ca=DataSource(inline_bytes=bundle))
    return Secret(name=name, validation_context=trusted)
