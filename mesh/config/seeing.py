"""What the proxy tells of the requests it passes on: `metrics`, `access_log`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mesh.config.fields import Flag, Place, Section, Whole


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
