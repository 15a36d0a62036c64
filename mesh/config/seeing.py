"""What the proxy tells of the requests it passes on: `metrics`, `access_log`, `tracing`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mesh.config.fields import Flag, Percent, Place, Section, Whole

_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-fA-F:.]+")


class Metrics(Section):
    names: Whole = Field(default=2000, examples=[2000])
    """So many names, the first that are called, have metrics of their own; all others count together as `other`."""


class AccessLog(Section):
    path: Place | None = Field(default=None, examples=["/var/log/tieline/access.log"])
    """The file that gets a line of JSON for each request, or /dev/stderr; null: none."""
    only: Literal["errors", "all"] = Field(default="errors", examples=["all"])
    """`errors`: answers of 500 and above, and what the proxy itself has cut short or answered; `all`: every request."""
    query: Flag = Field(default=False, examples=[True])
    """Write the query of the URI, too. Secrets often stand there."""


def _collector(text: str) -> str:
    """Of a collector: what Envoy could not use is refused here."""
    try:
        url = urlsplit(text)
        fits = url.scheme == "http" and _HOST.fullmatch(url.hostname or "") and url.port
    except ValueError:
        fits = False
    if not fits or url.query or url.fragment or url.username:
        raise ValueError(f"a URL such as http://127.0.0.1:4317 expected, with http and a port, not {text!r}")
    return text


class Tracing(Section):
    otlp: Annotated[str, AfterValidator(_collector)] | None = Field(default=None, examples=['"http://127.0.0.1:4317"'])
    """The collector that gets the spans as OTLP. null, and no `zipkin`: none are made."""
    zipkin: Annotated[str, AfterValidator(_collector)] | None = Field(
        default=None, examples=['"http://127.0.0.1:9411"']
    )
    """A collector that gets them in Zipkin's format instead, at its path, else at /api/v2/spans: for B3's headers."""
    protocol: Literal["grpc", "http"] = Field(default="grpc", examples=["http"])
    """How OTLP is spoken; `http`: binary, to the path of `otlp`, else to `/v1/traces`."""
    sample_percent: Percent = Field(default=1.0, examples=[1.0])
    """How many of the requests are sampled whose caller has not decided that (`traceparent`; B3)."""
    service: Annotated[str, Field(min_length=1, max_length=200)] = Field(default="tieline", examples=["tieline"])
    """The `service.name` of the spans; in Zipkin's format it is always tieline."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.otlp is not None and self.zipkin is not None:
            raise ValueError("`otlp` and `zipkin` are both said: choose one")
        idle = sorted({"protocol", "service"} & self.model_fields_set)
        if self.zipkin is not None and idle:
            raise ValueError(f"`{idle[0]}` has no effect on `zipkin`: remove it")
        return self
