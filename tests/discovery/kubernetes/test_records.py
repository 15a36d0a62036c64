"""Payloads as Kubernetes 1.29 answers them, shortened only where nothing is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.address import Health, Protocol
from discovery.kubernetes import records
from discovery.kubernetes.records import Backend, Malformed, Page, Port, Service, Slice

SLICE: dict[str, Any] = {
    "metadata": {
        "name": "users-x7k2p",
        "generateName": "users-",
        "namespace": "shop",
        "uid": "5f0c3c3e-6b1f-4b8a-9f57-2f5e3b7ad9a1",
        "resourceVersion": "4711",
        "generation": 12,
        "creationTimestamp": "2026-11-02T09:11:42Z",
        "labels": {
            "app": "users",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": "users",
        },
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-02T09:12:00Z"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "users", "uid": "u", "controller": True}],
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:ports": {}}}],
    },
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.1.0.7"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "users-7d9f-abcde", "uid": "9d6b"},
            "nodeName": "node-a",
            "zone": "eu-1a",
            "hints": {"forZones": [{"name": "eu-1b"}]},
        },
        {
            "addresses": ["10.1.0.8"],
            "conditions": {"ready": False, "serving": True, "terminating": True},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "users-7d9f-fghij", "uid": "9d6c"},
            "nodeName": "node-b",
            "zone": "eu-1b",
        },
    ],
    "ports": [
        {"name": "http", "protocol": "TCP", "port": 8080, "appProtocol": "http"},
        {"name": "grpc", "protocol": "TCP", "port": 9090, "appProtocol": "grpc"},
    ],
}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "users", "namespace": "shop", "uid": "u", "resourceVersion": "310"},
    "spec": {
        "ports": [
            {"name": "http", "protocol": "TCP", "appProtocol": "http", "port": 80, "targetPort": "web"},
            {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        ],
        "selector": {"app": "users"},
        "clusterIP": "10.96.14.3",
        "clusterIPs": ["10.96.14.3"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
    },
    "status": {"loadBalancer": {}},
}


def listed(kind: str, *items: object, **meta: object) -> bytes:
    body = {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "4800", **meta}, "items": list(items)}
    return json.dumps(body).encode()


def changed(value: Any, path: str, to: object) -> Any:
    """A copy with another value at `path`; None takes it away."""
    copy = json.loads(json.dumps(value))
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split("|")]
    at = copy
    for step in steps:
        at = at[step]
    if to is None:
        del at[last]
    else:
        at[last] = to
    return copy


def one(raw: Any) -> Slice:
    return records.slices(listed("EndpointSliceList", raw)).items[0]


def test_a_list_of_slices_is_read() -> None:
    assert records.slices(listed("EndpointSliceList", SLICE)) == Page(
        items=(
            Slice(
                namespace="shop",
                name="users-x7k2p",
                service="users",
                family="IPv4",
                ports=(Port("http", 8080, Protocol.HTTP1), Port("grpc", 9090, Protocol.GRPC)),
                backends=(
                    Backend("10.1.0.7", Health.HEALTHY, "eu-1a", "node-a", "9d6b", "pod shop/users-7d9f-abcde"),
                    Backend("10.1.0.8", Health.DRAINING, "eu-1b", "node-b", "9d6c", "pod shop/users-7d9f-fghij"),
                ),
            ),
        ),
        version="4800",
    )


def test_a_list_of_services_is_read_without_its_udp_ports() -> None:
    page = records.services(listed("ServiceList", SERVICE))
    assert page.items == (Service("shop", "users", (Port("http", 80, Protocol.HTTP1),)),)


def test_a_page_says_how_to_ask_for_the_next_one() -> None:
    more = listed("ServiceList", SERVICE, remainingItemCount=3, **{"continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"})
    assert records.services(more).more == "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        pytest.param(None, Health.HEALTHY, id="no conditions"),
        pytest.param({}, Health.HEALTHY, id="nothing said"),
        pytest.param({"ready": None}, Health.HEALTHY, id="null"),
        pytest.param({"ready": True, "serving": True, "terminating": True}, Health.HEALTHY, id="published unready"),
        pytest.param({"ready": False}, Health.UNHEALTHY, id="not ready"),
        pytest.param({"ready": False, "serving": True}, Health.UNHEALTHY, id="serving, not terminating"),
        pytest.param({"ready": False, "terminating": True}, Health.UNHEALTHY, id="serving is as ready"),
        pytest.param({"ready": False, "serving": False, "terminating": True}, Health.UNHEALTHY, id="over"),
        pytest.param({"ready": False, "serving": True, "terminating": True}, Health.DRAINING, id="draining"),
    ],
)
def test_conditions_say_how_an_endpoint_is(conditions: object, health: Health) -> None:
    assert one(changed(SLICE, "endpoints|0|conditions", conditions)).backends[0].health is health


@pytest.mark.parametrize(
    ("said", "protocol"),
    [
        ("http", Protocol.HTTP1),
        ("HTTP", Protocol.HTTP1),
        ("kubernetes.io/ws", Protocol.HTTP1),
        ("kubernetes.io/h2c", Protocol.HTTP2),
        ("http2", Protocol.HTTP2),
        ("grpc", Protocol.GRPC),
        ("tcp", Protocol.TCP),
        ("https", Protocol.TCP),
        ("example.com/own", None),
        (None, None),
    ],
)
def test_the_application_protocol_of_a_port_is_ours_where_it_has_one(said: str | None, protocol: Protocol) -> None:
    assert one(changed(SLICE, "ports|0|appProtocol", said)).ports[0].protocol is protocol


def test_a_port_without_a_number_and_one_of_another_transport_are_left_out() -> None:
    raw = changed(SLICE, "ports|0|port", None)
    assert [port.name for port in one(raw).ports] == ["grpc"]
    assert [port.name for port in one(changed(SLICE, "ports|1|protocol", "SCTP")).ports] == ["http"]
    assert one(changed(SLICE, "ports|0", {"name": "any", "port": 1})).ports[0] == Port("any", 1)
    assert one({**SLICE, "ports": None}).ports == ()


def test_an_unnamed_port_has_an_empty_name() -> None:
    assert one(changed(SLICE, "ports|0|name", None)).ports[0].name == ""
    assert one(changed(SLICE, "ports|0|name", "")).ports[0].name == ""


def test_a_slice_without_endpoints_is_one_nevertheless() -> None:
    assert one({**SLICE, "endpoints": None}).backends == ()
    assert one(changed(SLICE, "endpoints", [])).backends == ()


def test_a_slice_without_the_label_belongs_to_no_service() -> None:
    assert one(changed(SLICE, "metadata|labels", None)).service == ""


def test_a_slice_of_host_names_is_read() -> None:
    raw = {**SLICE, "addressType": "FQDN", "endpoints": [{"addresses": ["db.example.com."]}]}
    assert one(raw).backends == (Backend("db.example.com", Health.HEALTHY),)


def test_an_external_name_is_read() -> None:
    spec = {"type": "ExternalName", "externalName": "db.example.com.", "sessionAffinity": "None"}
    page = records.services(listed("ServiceList", {**SERVICE, "spec": spec}))
    assert page.items == (Service("shop", "users", (), "db.example.com"),)


@pytest.mark.parametrize(
    ("path", "to", "place"),
    [
        ("metadata|name", None, "items.0.metadata.name"),
        ("metadata|namespace", 3, "items.0.metadata.namespace"),
        ("endpoints|1|addresses", None, "items.0.endpoints.1.addresses"),
        ("endpoints|0|conditions|ready", "yes", "items.0.endpoints.0.conditions.ready"),
        ("ports|0|port", "8080", "items.0.ports.0.port"),
    ],
)
def test_what_is_no_slice_is_refused_with_its_place(path: str, to: object, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        records.slices(listed("EndpointSliceList", changed(SLICE, path, to)))
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("path", "to", "flaw"),
    [
        ("addressType", "IPv9", "addressType: IPv4, IPv6 or FQDN expected, not 'IPv9'"),
        ("endpoints|1|addresses", [], "endpoints.1.addresses.0: an address expected"),
        ("endpoints|1|addresses", ["010.1.0.1"], "endpoints.1.addresses.0: an address expected, not '010.1.0.1'"),
        ("ports|0|port", 70000, "ports.0.port: a port expected, not 70000"),
    ],
)
def test_a_value_that_makes_no_sense_is_a_flaw_of_its_slice_alone(path: str, to: object, flaw: str) -> None:
    flawed = one(changed(SLICE, path, to))
    assert flaw in flawed.flaw
    assert f"EndpointSlice {flawed.namespace}/{flawed.name}" in flawed.flaw
    assert flawed.backends == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b"null",
        b'{"kind": "Status", "status": "Failure"}',
        listed("ServiceList"),
        listed("EndpointSliceList", resourceVersion=""),
        listed("EndpointSliceList", SLICE)[:-30],
        b"\xff\xfe",
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        records.slices(body)


def test_an_external_name_without_a_name_is_refused() -> None:
    with pytest.raises(Malformed, match=r"items\.0\.spec\.externalName"):
        records.services(listed("ServiceList", {**SERVICE, "spec": {"type": "ExternalName"}}))
