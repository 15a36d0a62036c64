"""Rewrites and redirects of routes. A path loses what identified the request (`consumed`) first, then its prefix.

Envoy applies one regular expression, to the path without its query. With both there is no one expression, for what
replaces the prefix is to stand there only if the prefix did: so each route is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from envoy.config.route.v3.route_components_pb2 import RedirectAction, Route, RouteMatch
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute, RegexMatcher

from mesh.policy.rewriting import Redirect
from mesh.policy.settings import Settings

_LONGEST = 8000
_STATUSES = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}


@dataclass(frozen=True, slots=True)
class _Way:
    """What becomes of the paths that match `only`, or of all."""

    only: RegexMatcher | None
    rewrite: RegexMatchAndSubstitute | None


def rewritten(routes: Iterable[Route], settings: Settings, consumed: int) -> list[Route]:
    """Those to be put in their place."""
    found = [_along(route, way) for route in routes for way in _ways(settings, consumed)]
    if settings.rewrite is not None and settings.rewrite.host is not None:
        for route in found:
            route.route.host_rewrite_literal = settings.rewrite.host
    if settings.redirect is not None:
        back = _redirected(settings.redirect, consumed)
        return [back, *found] if back.match.HasField("safe_regex") else [back]
    return found


def _ways(settings: Settings, consumed: int) -> Iterator[_Way]:
    rewrite = settings.rewrite
    if rewrite is None or rewrite.prefix is None or rewrite.to is None:
        yield _Way(None, _without_first(consumed) if consumed else None)
    elif consumed:
        yield _Way(_below(rewrite.prefix, consumed), _moved(rewrite.prefix, rewrite.to, consumed))
        yield _Way(None, _without_first(consumed))
    else:
        yield _Way(None, _moved(rewrite.prefix, rewrite.to, 0))


def _along(route: Route, way: _Way) -> Route:
    if way.only is None and way.rewrite is None:
        return route
    found = Route()
    found.CopyFrom(route)
    if way.only is not None:
        found.match.safe_regex.CopyFrom(way.only)
    if way.rewrite is not None:
        found.route.regex_rewrite.CopyFrom(way.rewrite)
    return found


def _redirected(redirect: Redirect, consumed: int) -> Route:
    """A caller is told a path that is identified as its own was: what is consumed stays."""
    action = RedirectAction(
        response_code=_STATUSES[redirect.status],
        scheme_redirect=redirect.scheme,
        host_redirect=redirect.host,
        port_redirect=redirect.port,
    )
    match = RouteMatch(prefix="/")
    if redirect.prefix is not None and redirect.to is not None:
        match = RouteMatch(safe_regex=_below(redirect.prefix, consumed))
        action.regex_rewrite.CopyFrom(_moved(redirect.prefix, redirect.to, consumed, kept=True))
    elif redirect.path is not None:
        action.path_redirect = redirect.path
    return Route(match=match, redirect=action)


@cache
def _without_first(segments: int) -> RegexMatchAndSubstitute:
    """Of the path; Envoy keeps the query."""
    return RegexMatchAndSubstitute(pattern=RegexMatcher(regex=f"^{_first(segments)}/?"), substitution="/")


def _below(prefix: str, consumed: int) -> RegexMatcher:
    """Envoy compares the whole path."""
    return RegexMatcher(regex=f"{_first(consumed)}{_literal(prefix)}(?:/.*)?")


def _moved(prefix: str, to: str, consumed: int, *, kept: bool = False) -> RegexMatchAndSubstitute:
    """`kept`: what is consumed stays. The slash behind the prefix stays, unless `to` ends with one."""
    end = "(?:/|$)" if to.endswith("/") else "(/|$)"
    regex = f"^({_first(consumed) if kept else ''}){'' if kept else _first(consumed)}{_literal(prefix)}{end}"
    slash = "" if to.endswith("/") else r"\2"
    return RegexMatchAndSubstitute(
        pattern=RegexMatcher(regex=regex), substitution=r"\1" + to.replace("\\", r"\\") + slash
    )


def _first(segments: int) -> str:
    return f"(?:/[^/]+){{{segments}}}" if segments else ""


def _literal(prefix: str) -> str:
    """A capture may be longer than any path, and Envoy refuses expressions that are too long."""
    return re.escape(prefix[:_LONGEST].rstrip("/"))
