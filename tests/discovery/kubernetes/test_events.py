from __future__ import annotations

import json

import pytest

from discovery.kubernetes import events
from discovery.kubernetes.events import Bookmark, Failed, Put, Removed
from discovery.kubernetes.records import Malformed, Port, Service

SERVICE = {
    "kind": "Service",
    "apiVersion": "v1",
    "metadata": {"name": "users", "namespace": "shop", "resourceVersion": "311", "managedFields": []},
    "spec": {"ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}], "type": "ClusterIP"},
}
SLICE = {
    "kind": "EndpointSlice",
    "metadata": {
        "name": "users-1",
        "namespace": "shop",
        "resourceVersion": "312",
        "labels": {"kubernetes.io/service-name": "users"},
    },
    "addressType": "IPv6",
    "endpoints": None,
    "ports": None,
}


def line(kind: str, what: object) -> bytes:
    return json.dumps({"type": kind, "object": what}).encode()


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_there_is_such_an_object_now(kind: str) -> None:
    assert events.service_event(line(kind, SERVICE)) == Put(Service("shop", "users", (Port("", 80),)), "311")
    event = events.slice_event(line(kind, SLICE))
    assert isinstance(event, Put)
    assert (event.record.name, event.record.service, event.version) == ("users-1", "users", "312")


def test_there_is_no_such_object_any_more() -> None:
    assert events.service_event(line("DELETED", SERVICE)) == Removed("shop", "users", "311")
    assert events.slice_event(line("DELETED", SLICE)) == Removed("shop", "users-1", "312")


def test_a_bookmark_has_nothing_but_a_version() -> None:
    mark = {"kind": "EndpointSlice", "metadata": {"resourceVersion": "900", "creationTimestamp": None}, "ports": None}
    assert events.slice_event(line("BOOKMARK", mark)) == Bookmark("900")


def test_a_version_that_is_too_old_is_told_within_the_stream() -> None:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (214)",
        "reason": "Expired",
        "code": 410,
    }
    assert events.slice_event(line("ERROR", status)) == Failed(410, "too old resource version: 1 (214)")
    assert events.failure(json.dumps(status).encode()) == Failed(410, "too old resource version: 1 (214)")


def test_an_error_that_is_not_the_servers_own_says_nothing() -> None:
    assert events.failure(b"404 page not found\n") is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"nonsense", "Invalid JSON"),
        (b'{"type": "CHANGED", "object": {}}', "Input tag 'CHANGED'"),
        (b'{"object": {}}', "Unable to extract tag"),
        (line("ADDED", {**SLICE, "metadata": {"name": "a", "namespace": "b"}}), "object.metadata.resourceVersion"),
        (line("BOOKMARK", {"metadata": {}}), "BOOKMARK.object.metadata.resourceVersion"),
        (line("ERROR", {"message": "no"}), "ERROR.object.kind"),
        (line("ADDED", SLICE)[:40], "Invalid JSON"),
    ],
)
def test_what_is_no_event_is_refused_with_its_place(text: bytes, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        events.slice_event(text)
    assert place in str(caught.value)
