"""What an API server says of itself, as far as `kubectl` and the clients ask: versions, groups, resources."""

from __future__ import annotations

from typing import Any

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _resource(plural: str, singular: str, kind: str, *, namespaced: bool, short: list[str]) -> dict[str, Any]:
    named = {"name": plural, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": _VERBS}
    return {**named, "shortNames": short}


_GROUP = {
    "name": "discovery.k8s.io",
    "versions": [{"groupVersion": "discovery.k8s.io/v1", "version": "v1"}],
    "preferredVersion": {"groupVersion": "discovery.k8s.io/v1", "version": "v1"},
}

DOCUMENTS: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "28", "gitVersion": "v1.28.0", "platform": "linux/amd64"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]},
    "/apis/discovery.k8s.io": {"kind": "APIGroup", "apiVersion": "v1", **_GROUP},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            _resource("services", "service", "Service", namespaced=True, short=["svc"]),
            _resource("namespaces", "namespace", "Namespace", namespaced=False, short=["ns"]),
        ],
    },
    "/apis/discovery.k8s.io/v1": {
        "kind": "APIResourceList",
        "groupVersion": "discovery.k8s.io/v1",
        "resources": [_resource("endpointslices", "endpointslice", "EndpointSlice", namespaced=True, short=[])],
    },
}
