"""Load balancing and active health checks of a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import RuntimeDouble
from envoy.config.core.v3.health_check_pb2 import HealthCheck as EnvoyHealthCheck
from envoy.config.route.v3.route_components_pb2 import RouteAction
from envoy.type.v3.http_pb2 import CodecClientType
from google.protobuf.wrappers_pb2 import UInt32Value

from mesh.envoy.packing import seconds
from mesh.policy.balancing import Balancing, HashOn, HealthCheck, SlowStart

_POLICIES = {
    "least_request": Cluster.LEAST_REQUEST,
    "round_robin": Cluster.ROUND_ROBIN,
    "random": Cluster.RANDOM,
    "ring_hash": Cluster.RING_HASH,
    "maglev": Cluster.MAGLEV,
}


def balance(message: Cluster, balancing: Balancing) -> None:
    message.lb_policy = _POLICIES[balancing.policy]
    match balancing.policy:
        case "least_request":
            # A full scan is better still (1 % against 4 % of the requests on a slow endpoint) but costs O(endpoints)
            # a request, and how many there will be is not known here.
            message.least_request_lb_config.choice_count.CopyFrom(UInt32Value(value=balancing.choices))
            if balancing.slow_start:
                _start_slowly(message.least_request_lb_config.slow_start_config, balancing.slow_start)
        case "round_robin" if balancing.slow_start:
            _start_slowly(message.round_robin_lb_config.slow_start_config, balancing.slow_start)


def _start_slowly(config: Cluster.SlowStartConfig, slow_start: SlowStart) -> None:
    config.slow_start_window.CopyFrom(seconds(slow_start.window))
    config.aggression.CopyFrom(RuntimeDouble(default_value=slow_start.aggression, runtime_key="tieline.aggression"))


def hash_policies(hash_on: Iterable[HashOn]) -> list[RouteAction.HashPolicy]:
    """The first that the request has decides."""
    return [_hash_policy(each) for each in hash_on]


def _hash_policy(hash_on: HashOn) -> RouteAction.HashPolicy:
    policy = RouteAction.HashPolicy(terminal=True)
    if hash_on.header is not None:
        policy.header.header_name = hash_on.header
    elif hash_on.cookie is not None:
        policy.cookie.name = hash_on.cookie
        if hash_on.ttl is not None:
            policy.cookie.ttl.CopyFrom(seconds(hash_on.ttl))
            policy.cookie.path = "/"
    else:
        policy.connection_properties.source_ip = True
    return policy


def check_health(message: Cluster, check: HealthCheck, *, host: str, http2: bool) -> None:
    probe = EnvoyHealthCheck(
        interval=seconds(check.interval),
        # A name without traffic is checked just as often: its first request is to find out nothing new.
        no_traffic_interval=seconds(check.interval),
        timeout=seconds(check.timeout),
        unhealthy_threshold=UInt32Value(value=check.unhealthy_after),
        healthy_threshold=UInt32Value(value=check.healthy_after),
    )
    match check.protocol:
        case "http":
            probe.http_health_check.host = host
            probe.http_health_check.path = check.path
            if http2:
                probe.http_health_check.codec_client_type = CodecClientType.HTTP2
        case "grpc":
            probe.grpc_health_check.SetInParent()
        case "tcp":
            probe.tcp_health_check.SetInParent()
    message.health_checks.append(probe)
