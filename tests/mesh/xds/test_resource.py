from __future__ import annotations

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from mesh.xds.resource import CLUSTER, resource


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 3_000_000])
def test_frames_concatenate_to_a_response(size: int) -> None:
    messages = [Cluster(name="a", alt_stat_name="x" * size), Cluster(name="b")]
    response = DeltaDiscoveryResponse.FromString(b"".join(resource(each.name, each).frame for each in messages))
    for entry, message in zip(response.resources, messages, strict=True):
        unpacked = Cluster()
        assert entry.resource.type_url == CLUSTER
        assert entry.resource.Unpack(unpacked)
        assert (entry.name, unpacked) == (message.name, message)


def test_the_version_is_the_content() -> None:
    def version(stat_name: str) -> str:
        return resource("a", Cluster(name="a", alt_stat_name=stat_name)).version

    assert version("x") == version("x")
    assert version("x") != version("y")
