"""Which scopes a running Envoy has from an earlier brain, asked of Envoy itself.

On reconnecting, Envoy lists the clusters it has but not what came through a collection's glob, and scopes do. So its
admin interface is asked, once, before the brain serves. Source: ScopedRoutesConfigDump.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path as File

from mesh.agent import envoy_admin

logger = logging.getLogger("tieline.adoption")

DUMP = "/config_dump?resource=dynamic_scoped_route_configs"


async def scopes(admin: File) -> list[str]:
    """Resource names; none when no Envoy runs yet."""
    if not admin.exists():
        return []
    try:
        return list(_names(json.loads(await envoy_admin.get(admin, DUMP))))
    except envoy_admin.Refused as refused:
        if refused.status != 404:  # It has no scopes.
            logger.warning("Envoy did not tell which names it has", extra={"fields": {"error": refused}})
        return []
    except (OSError, TimeoutError, ValueError, KeyError, TypeError, EOFError) as error:
        logger.warning("Envoy did not tell which names it has", extra={"fields": {"error": repr(error)}})
        return []


def _names(dump: dict[str, list[dict[str, list[dict[str, str]]]]]) -> Iterable[str]:
    for router in dump.get("configs", []):
        for scope in router.get("scoped_route_configs", []):
            yield scope["name"]
