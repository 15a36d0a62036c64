"""From the configuration to what Envoy lets be seen."""

from __future__ import annotations

from urllib.parse import urlsplit

from mesh.config.model import Config
from mesh.config.routers import Router
from mesh.envoy.access_log import Log
from mesh.envoy.sight import Sight
from mesh.envoy.tracing import Collector, Tracing


def sight(config: Config, router: Router) -> Sight:
    log = config.access_log
    return Sight(
        log=Log(str(log.path), log.only == "errors", log.query) if log.path else None,
        tracing=tracing(config),
        shows=router.show_destination == "on_request",
        tells_errors=router.tells_errors,
    )


def tracing(config: Config) -> Tracing | None:
    said = config.tracing
    place = said.otlp or said.zipkin
    if place is None:
        return None
    url = urlsplit(place)
    over_grpc = said.zipkin is None and said.protocol == "grpc"
    path = "" if over_grpc else url.path.rstrip("/") or ("/api/v2/spans" if said.zipkin else "/v1/traces")
    return Tracing(
        Collector(url.hostname or "", url.port or 0, path, zipkin=said.zipkin is not None),
        said.sample_percent,
        said.service,
    )
