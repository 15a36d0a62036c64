"""What Envoy is started with: where its brain is, and its own limits. JSON, because it is read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mesh.envoy.names import XDS_CLUSTER

_TYPE = "type.googleapis.com/"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# More than half of a cluster's stats concern what our clusters never do (subsets, zones, HTTP/3, redirects, ejection by
# success rate) or repeat what xDS status says.
_REGEX_SIZE = "re2.max_program_size.error_level"
_UNUSED_STATS = (
    r"cluster\..*\.("
    r"version_text|version|warming_state|assignment_.*|init_fetch_timeout|update_.*|default\.total_match_count"
    r"|lb_(subsets|zone|local|recalculate)_.*|original_dst_host_invalid|http[123]\..*|upstream_http3_broken"
    r"|circuit_breakers\.high\..*|upstream_(flow_control|internal_redirect)_.*|upstream_cx_http3_total"
    r"|upstream_(cx_connect_with_0_rtt|cx_close_notify|cx_preconnect_skipped|cx_max_duration_reached|rq_0rtt)"
    r"|upstream_(cx_pool_overflow|cx_max_requests|queue_overloaded|rq_maintenance_mode|rq_max_duration_reached)"
    r"|outlier_detection\..*(success_rate|failure_percentage|degradation|consecutive_5xx)|upstream_rq_per_cx"
    r"|upstream_cx_(length_ms|connect_ms)|upstream_rq_per_try_idle_timeout|upstream_rq_retry_backoff_.*"
    r"|upstream_cx_destroy_(local|remote).*|max_host_weight|membership_(degraded|excluded)|bind_errors"
    r"|(external|internal|canary)\..*|upstream_rq_(completed|[0-9]{3})"
    r")"
    # Of names, classes are enough: a counter for each status would multiply them.
    r"|vhost\..*\.upstream_rq_(completed|[0-9]{3})"
)
_MILLISECONDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000]
_ADS = {"ads": {}, "resource_api_version": "V3"}


def bootstrap(
    *,
    node_id: str,
    node_cluster: str,
    ads_socket: Path,
    admin_socket: Path,
    max_connections: int = 20_000,
    max_heap_bytes: int | None = None,
) -> dict[str, Any]:
    return {
        "node": {"id": node_id, "cluster": node_cluster},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"ads_config": _ads_config(), "cds_config": _ADS, "lds_config": _ADS},
        "static_resources": {"clusters": [_xds_cluster(ads_socket)]},
        "overload_manager": _overload_manager(max_connections, max_heap_bytes),
        # Else Envoy refuses regular expressions of 100 characters. RE2 takes linear time for any.
        "layered_runtime": {"layers": [{"name": "tieline", "static_layer": {_REGEX_SIZE: 1_000_000}}]},
        # The periodic flush stops the main thread, and with it every update, for up to half a second.
        "stats_flush_on_admin": True,
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "stats_config": {
            "stats_matcher": {"exclusion_list": {"patterns": [{"safe_regex": {"regex": _UNUSED_STATS}}]}},
            "histogram_bucket_settings": [{"match": {"suffix": "rq_time"}, "buckets": _MILLISECONDS}],
        },
    }


def _ads_config() -> dict[str, Any]:
    # The default back-off grows to 30 s, during which a brain that is back changes nothing, and one that starts beside
    # Envoy is found late. Asking at a Unix socket costs nothing.
    back_off = {"base_interval": "0.05s", "max_interval": "0.5s"}
    service = {"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": back_off}}}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [service],
    }


def _xds_cluster(ads_socket: Path) -> dict[str, Any]:
    # A half-open connection must not look like a quiet one.
    http2 = {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(ads_socket)}}}}
    # Cold names of all callers are asked for over one connection: as many at once as there are requests.
    limits = {"max_connections": 1024, "max_pending_requests": 65536, "max_requests": 65536}
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _TYPE + _HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "load_assignment": {"cluster_name": XDS_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


# By how full the heap is. In this order: nobody notices; whoever holds most is cut, from the largest down; callers of
# HTTP/1.1 come anew for each request; nobody is served until there is room.
_ACTIONS: dict[str, dict[str, Any]] = {
    "shrink_heap": {"threshold": {"value": 0.8}},
    "reset_high_memory_stream": {"scaled": {"scaling_threshold": 0.85, "saturation_threshold": 0.95}},
    "disable_http_keepalive": {"threshold": {"value": 0.92}},
    "stop_accepting_requests": {"threshold": {"value": 0.95}},
    "stop_accepting_connections": {"threshold": {"value": 0.98}},
}
_HEAP = "envoy.resource_monitors.fixed_heap"


def _action(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}


def _overload_manager(max_connections: int, max_heap_bytes: int | None) -> dict[str, Any]:
    connections = {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": max_connections,
        },
    }
    if max_heap_bytes is None:
        return {"resource_monitors": [connections]}
    heap = {
        "name": _HEAP,
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            "max_heap_size_bytes": max_heap_bytes,
        },
    }
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [connections, heap],
        # A stream is counted from 128 KiB on: none holds more than the buffers of its two connections, 256 KiB each.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 17},
        "actions": [_action(name, trigger) for name, trigger in _ACTIONS.items()],
    }
