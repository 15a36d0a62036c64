"""What a router lets be seen of its requests. What nobody wants costs nothing: it is not there."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from mesh.envoy.access_log import Log, access_log
from mesh.envoy.destination import shown_destination
from mesh.envoy.packing import packed
from mesh.envoy.tracing import Tracing, request_id, tracing


@dataclass(frozen=True, slots=True)
class Sight:
    log: Log | None = None
    tracing: Tracing | None = None
    shows: bool = False
    """Answers tell where the request went, to who asks."""
    tells_errors: bool = True


NOTHING = Sight()


def see(manager: HttpConnectionManager, router: str, sight: Sight) -> HttpConnectionManager:
    """The same manager, which now tells what is to be seen."""
    if sight.log is not None:
        manager.access_log.append(access_log(router, sight.log))
    if sight.tracing is not None:
        manager.tracing.CopyFrom(tracing(router, sight.tracing))
        manager.request_id_extension.typed_config.CopyFrom(packed(request_id(sight.tracing)))
    if sight.shows:
        manager.http_filters.insert(0, shown_destination())
    return manager
