"""TLS to endpoints: what a cluster says of it. Authorities and certificates are secrets, named by their files."""

from __future__ import annotations

import ipaddress
import pathlib
import re

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from discovery.path import Path
from mesh.envoy.packing import packed, text
from mesh.envoy.tls import SOCKET, secret_source, versions
from mesh.policy.tls import Tls

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_INET, _RINET = ("$", "inet"), ("$", "io.buoyant.rinet")
_OLDEST = 1.2


def client_socket(tls: Tls, id: Path) -> TransportSocket:
    """`id`: the bound name, which may tell the server's."""
    name = tls.sni or server_name(id)
    common = CommonTlsContext(tls_params=versions(_OLDEST))
    if tls.verify:
        # Never without: a certificate that any authority signed for anybody says nothing.
        combined = common.combined_validation_context
        combined.default_validation_context.CopyFrom(_named(tls.san or (name,)))
        combined.validation_context_sds_secret_config.CopyFrom(secret_source(authorities_name(tls)))
    if tls.cert is not None and tls.key is not None:
        common.tls_certificate_sds_secret_configs.append(secret_source(certificate_name(tls.cert, tls.key)))
    context = UpstreamTlsContext(common_tls_context=common)
    if _HOST.fullmatch(name) and not _is_address(name):
        context.sni = name
    return TransportSocket(name=SOCKET, typed_config=packed(context))


def server_name(id: Path) -> str:
    if tuple(id[:2]) == _INET and len(id) == 4:
        return id[2]
    return id[3] if tuple(id[:2]) == _RINET and len(id) == 4 else id[-1]


def authorities_name(tls: Tls) -> str:
    return f"upstream/authorities/{text(str(tls.ca))}"


def certificate_name(cert: pathlib.Path, key: pathlib.Path) -> str:
    return f"upstream/certificate/{text(f'{cert}+{key}')}"


def _named(names: tuple[str, ...]) -> CertificateValidationContext:
    """An exact DNS name is also found in a certificate for *.example.com."""
    return CertificateValidationContext(match_typed_subject_alt_names=map(_matcher, names))


def _matcher(name: str) -> SubjectAltNameMatcher:
    if _is_address(name):
        address = StringMatcher(exact=str(ipaddress.ip_address(name)))
        return SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.IP_ADDRESS, matcher=address)
    kind = SubjectAltNameMatcher.URI if "://" in name else SubjectAltNameMatcher.DNS
    return SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=text(name)))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
