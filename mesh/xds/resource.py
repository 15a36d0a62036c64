"""A resource as it goes over the wire: serialised once per version, whatever number of streams it goes to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from google.protobuf.message import Message

_TYPE = "type.googleapis.com/"
CLUSTER = _TYPE + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _TYPE + "envoy.config.listener.v3.Listener"
SCOPE = _TYPE + "envoy.config.route.v3.ScopedRouteConfiguration"
SECRET = _TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret"

# Length-delimited fields of DeltaDiscoveryResponse, discovery.v3.Resource and google.protobuf.Any.
_RESPONSE_RESOURCES = b"\x12"
_RESOURCE_VERSION, _RESOURCE_RESOURCE, _RESOURCE_NAME = b"\x0a", b"\x12", b"\x1a"
_ANY_TYPE_URL, _ANY_VALUE = b"\x0a", b"\x12"


@dataclass(frozen=True, slots=True)
class Resource:
    """`version` is a hash of the content; `frame` an entry of DeltaDiscoveryResponse.resources, to be concatenated."""

    name: str
    version: str
    frame: bytes = field(repr=False)


def resource(name: str, message: Message) -> Resource:
    content = message.SerializeToString(deterministic=True)
    version = hashlib.blake2b(content, digest_size=8).hexdigest()
    type_url = _TYPE + message.DESCRIPTOR.full_name
    packed = _field(_ANY_TYPE_URL, type_url.encode()) + _field(_ANY_VALUE, content)
    entry = (
        _field(_RESOURCE_VERSION, version.encode())
        + _field(_RESOURCE_RESOURCE, packed)
        + _field(_RESOURCE_NAME, name.encode())
    )
    return Resource(name, version, _field(_RESPONSE_RESOURCES, entry))


def _field(tag: bytes, content: bytes) -> bytes:
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return tag + bytes(size) + content
