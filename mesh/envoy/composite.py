"""A cluster that leads to others: the first attempt to the first of them that has an endpoint, retries further on.

Source: envoy.extensions.clusters.composite.v3.ClusterConfig. This Envoy has it, xds-protos does not yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.any_pb2 import Any as PackedAny

from mesh.envoy.breakers import circuit_breakers
from mesh.envoy.names import stat_name
from mesh.envoy.packing import seconds
from mesh.policy.effective import OfBoundName

_TYPE = "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig"


def composite_name(members: Sequence[str]) -> str:
    digest = hashlib.blake2b("\n".join(members).encode(), digest_size=4).hexdigest()
    return f"{members[0]}+failover-{digest}"


def composite(members: Sequence[str], policy: OfBoundName) -> Cluster:
    """`policy`: of the first. A cluster of this kind has limits of its own, and Envoy's defaults allow 3 retries."""
    name = composite_name(members)
    return Cluster(
        name=name,
        alt_stat_name=stat_name(name),
        connect_timeout=seconds(policy.connect_seconds),
        lb_policy=Cluster.CLUSTER_PROVIDED,
        circuit_breakers=circuit_breakers(policy.limits, policy.budget),
        cluster_type=Cluster.CustomClusterType(
            name="envoy.clusters.composite",
            typed_config=PackedAny(type_url=_TYPE, value=b"".join(_field(_field(each.encode())) for each in members)),
        ),
    )


def _field(content: bytes) -> bytes:
    """Field 1, of a known length, as protobuf writes it."""
    length, count = bytearray(), len(content)
    while count > 0x7F:
        length.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes((0x0A, *length, count)) + content
