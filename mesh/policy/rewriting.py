"""Where a request goes in another form: with another path or Host, or back to the caller as a redirect.

Source of the mechanisms: Envoy, config.route.v3.RouteAction and RedirectAction.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from mesh.config.fields import Port, Section

_LONGEST: Final = 1000
# Printable, and none of what ends a path: `?`, `#`.
PathText = Annotated[str, Field(pattern=r'^/[!-"$->@-~]*$', max_length=_LONGEST)]
PathAndQuery = Annotated[str, Field(pattern=r'^/[!-"$-~]*$', max_length=_LONGEST)]
HostText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]{}-]+$", max_length=255)]


class Rewrite(Section):
    """`prefix` and `to` belong together."""

    prefix: PathText | None = Field(default=None, examples=["/api"])
    """Paths that are this, or below it, lose it. Others are sent on as they are."""
    to: PathText | None = Field(default=None, examples=["/"])
    """What they get instead."""
    host: HostText | None = Field(default=None, examples=["users.internal"])
    """The Host header that the service gets. null: as the caller says."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _together(self.prefix, self.to)
        if self.prefix is None and self.host is None:
            raise ValueError("`prefix` with `to`, or `host`, or all of them expected")
        return self


class Redirect(Section):
    """What is not said stays as it is in the request."""

    status: Literal[301, 302, 303, 307, 308] = Field(default=307, examples=[307])
    """301, 308: for ever, so that callers remember it; 302, 307: this time; 303: to be followed with GET."""
    scheme: Literal["http", "https"] | None = Field(default=None, examples=["https"])
    """The scheme of the address that callers are sent to."""
    host: HostText | None = Field(default=None, examples=["users.example.com"])
    """Its host."""
    port: Port | None = Field(default=None, examples=[8443])
    """Its port."""
    path: PathAndQuery | None = Field(default=None, examples=["/moved"])
    """Its path, whatever was asked for."""
    prefix: PathText | None = Field(default=None, examples=["/v1"])
    """Instead of `path`: only paths that are this or below it are redirected; all others go to the service."""
    to: PathText | None = Field(default=None, examples=["/v2"])
    """What stands there instead of `prefix`."""

    @model_validator(mode="after")
    def _leads_elsewhere(self) -> Self:
        _together(self.prefix, self.to)
        if self.path is not None and self.prefix is not None:
            raise ValueError("`path` or `prefix` expected, not both")
        if (self.scheme or self.host or self.port) is None and self._is_found_again():
            raise ValueError(
                "such a request would be redirected again and again: say another scheme, host, port or `to`"
            )
        return self

    def _is_found_again(self) -> bool:
        return self.prefix is None or self.to is None or is_below(self.to, self.prefix)


def is_below(path: str, prefix: str) -> bool:
    """Or the prefix itself."""
    return f"{path.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")


def _together(prefix: str | None, to: str | None) -> None:
    if (prefix is None) != (to is None):
        raise ValueError("`prefix` and `to` belong together")
