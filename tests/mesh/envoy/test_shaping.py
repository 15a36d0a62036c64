"""What shaping becomes for Envoy."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import FilterConfig, Route, VirtualHost
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from google.protobuf.json_format import MessageToDict

from discovery.path import Path
from mesh.envoy.names import cluster_name
from mesh.envoy.routes import scope
from mesh.envoy.shaping import FAULT, RATE_LIMIT, filters
from mesh.naming.tree import BoundName, Leaf
from mesh.policy.settings import DEFAULTS, Settings

USERS = Leaf(BoundName(Path.parse("/#/files/users")))


def host(settings: Settings = DEFAULTS, *, grpc: bool = True, consumed: int = 0) -> VirtualHost:
    message = scope("r", "users", USERS, settings, grpc=cluster_name if grpc else None, consumed=consumed)
    (found,) = message.route_configuration.virtual_hosts
    return found


def settings(**written: object) -> Settings:
    return Settings.model_validate(written)


def fault(where: VirtualHost | Route) -> dict[str, object]:
    config = HTTPFault()
    assert where.typed_per_filter_config[FAULT].Unpack(config)
    return MessageToDict(config)


def test_a_name_without_shaping_has_its_filters_switched_off() -> None:
    assert not host().typed_per_filter_config
    assert all(is_off(route, each.name) for route in host().routes for each in filters())


def is_off(route: Route, name: str) -> bool:
    config = FilterConfig()
    return route.typed_per_filter_config[name].Unpack(config) and config.disabled


def test_a_delay() -> None:
    found = fault(host(settings(fault={"delay": {"fixed": "200ms", "percent": 12.5}, "headers": {"X-Test": "1"}})))
    assert found == {
        "delay": {"fixedDelay": "0.200s", "percentage": {"numerator": 125_000, "denominator": "MILLION"}},
        "headers": [{"name": "x-test", "stringMatch": {"exact": "1"}}],
        "disableDownstreamClusterStats": True,
    }


def test_an_error_for_grpc_stands_at_its_route_alone() -> None:
    both = host(settings(fault={"abort": {"status": 503, "grpc_status": 8, "percent": 1e-9}}))
    least = {"numerator": 1, "denominator": "MILLION"}
    assert fault(both)["abort"] == {"httpStatus": 503, "percentage": least}
    assert fault(both.routes[0])["abort"] == {"grpcStatus": 8, "percentage": least}
    assert [FAULT in route.typed_per_filter_config for route in both.routes] == [True, False]
    alone = settings(fault={"abort": {"grpc_status": 8}})
    assert FAULT not in host(alone).typed_per_filter_config
    assert [is_off(route, FAULT) for route in host(alone).routes] == [False, True]
    assert [is_off(route, FAULT) for route in host(alone, grpc=False).routes] == [True]


def limit(**written: object) -> dict[str, object]:
    config = LocalRateLimit()
    assert host(settings(rate_limit=written)).typed_per_filter_config[RATE_LIMIT].Unpack(config)
    return MessageToDict(config)


def test_a_rate_limit() -> None:
    assert limit(requests=100, per="2s")["tokenBucket"] == {
        "maxTokens": 100,
        "tokensPerFill": 100,
        "fillInterval": "2s",
    }
    found = limit(requests=5, burst=9, headers={"x-tenant": "big"})
    bucket = {"maxTokens": 9, "tokensPerFill": 5, "fillInterval": "1s"}
    entry = {"key": "header_match", "value": "limited"}
    assert found["descriptors"] == [{"entries": [entry], "tokenBucket": bucket}]
    header = {"name": "x-tenant", "stringMatch": {"exact": "big"}}
    match = {"descriptorValue": "limited", "headers": [header]}
    assert found["rateLimits"] == [{"actions": [{"headerValueMatch": match}]}]


def test_headers_are_literal() -> None:
    found = host(settings(headers={"request": {"set": {"X-A": "5 %"}, "add": {"x-b": ""}, "remove": ["X-C"]}}))
    assert [MessageToDict(each) for each in found.request_headers_to_add] == [
        {
            "header": {"key": "x-a", "value": "5 %%"},
            "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD",
            "keepEmptyValue": True,
        },
        {"header": {"key": "x-b"}, "keepEmptyValue": True},
    ]
    assert found.request_headers_to_remove[-1] == "x-c"
    assert not found.response_headers_to_add
