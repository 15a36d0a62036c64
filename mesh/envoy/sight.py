"""What a router lets be seen of its requests. What nobody wants costs nothing: it is not there."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from mesh.envoy.access_log import Log, access_log


@dataclass(frozen=True, slots=True)
class Sight:
    log: Log | None = None


NOTHING = Sight()


def see(manager: HttpConnectionManager, router: str, sight: Sight) -> HttpConnectionManager:
    """The same manager, which now tells what is to be seen."""
    if sight.log is not None:
        manager.access_log.append(access_log(router, sight.log))
    return manager
