"""Copies of a name's requests for what another name leads to.

Source of the mechanism: Envoy, config.route.v3.RouteAction.RequestMirrorPolicy.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from discovery.path import Path, PathSyntaxError
from mesh.config.fields import Percent, Section
from mesh.naming.pattern import capture_names, substitute


def _path(text: str) -> str:
    """Raises PathSyntaxError. Captures are filled in later."""
    if not Path.parse(substitute(text, dict.fromkeys(capture_names(text), "x"))):
        raise ValueError("a path such as /svc/users-next expected, not '/'")
    return text


class Mirror(Section):
    to: Annotated[str, AfterValidator(_path)] = Field(examples=["/svc/users-next"])
    """The path of another name, which the table leads somewhere. Captures of `match` are filled in."""
    percent: Percent = Field(default=100.0, examples=[5])
    """Of what share of the requests it gets a copy."""

    @property
    def path(self) -> Path | None:
        """None: a capture is empty, so that it is no path."""
        try:
            return Path.parse(self.to)
        except PathSyntaxError:
            return None
