from __future__ import annotations

import pytest
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from discovery.address import Protocol
from discovery.path import Path
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME, UPSTREAM_HTTP, cluster, empty_cluster

NAME = Path.parse("/$/inet/10.0.0.1/80")


def test_a_cluster_is_named_by_its_path_and_counted_without_dots() -> None:
    found = cluster(NAME, None)
    assert found.name == found.eds_cluster_config.service_name == "/$/inet/10.0.0.1/80"
    assert "." not in found.alt_stat_name
    assert cluster(Path.parse("/#/other"), None).name == "/#/other"


@pytest.mark.parametrize(
    ("protocol", "upstream"),
    [
        (None, ["use_downstream_protocol_config"]),
        (Protocol.HTTP1, ["explicit_http_config", "http_protocol_options"]),
        (Protocol.HTTP2, ["explicit_http_config", "http2_protocol_options"]),
        (Protocol.GRPC, ["explicit_http_config", "http2_protocol_options"]),
    ],
)
def test_upstreams_are_spoken_to_as_they_say_or_as_callers_do(protocol: Protocol | None, upstream: list[str]) -> None:
    options = HttpProtocolOptions()
    assert cluster(NAME, protocol).typed_extension_protocol_options[UPSTREAM_HTTP].Unpack(options)
    chosen = [options.WhichOneof("upstream_protocol_options")]
    if options.HasField("explicit_http_config"):
        chosen.append(options.explicit_http_config.WhichOneof("protocol_config"))
    assert chosen == upstream


def test_tcp_has_no_http_options() -> None:
    assert not cluster(NAME, Protocol.TCP).typed_extension_protocol_options


def test_the_empty_cluster_has_no_endpoints() -> None:
    assert empty_cluster().name == EMPTY_CLUSTER_NAME
    assert not empty_cluster().load_assignment.endpoints
