"""Which names a running Envoy has from an earlier brain, asked of Envoy itself.

On reconnecting, Envoy lists the clusters it has but not what came through a collection's glob, and scopes do. So its
admin interface is asked, once, before the brain serves: for scopes, and for the clusters of TCP and TLS routers, which
must be known before the first of them is bound. Source: ScopedRoutesConfigDump, ClustersConfigDump.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path as File
from typing import Any
from urllib.parse import quote

from mesh.agent import envoy_admin

logger = logging.getLogger("tieline.adoption")

SCOPES = "/config_dump?resource=dynamic_scoped_route_configs"
STREAMS = f"/config_dump?resource=dynamic_active_clusters&name_regex={quote('[a-z][^/]*[+].*', safe='')}"


async def scopes(admin: File) -> list[str]:
    """Resource names; none when no Envoy runs yet."""
    dump = await _dump(admin, SCOPES)
    return [scope["name"] for router in dump for scope in router.get("scoped_route_configs", [])]


async def streams(admin: File) -> list[str]:
    """Clusters of TCP and TLS routers."""
    return [each["cluster"]["name"] for each in await _dump(admin, STREAMS)]


async def _dump(admin: File, target: str) -> list[Any]:
    if not admin.exists():
        return []
    try:
        dump: list[Any] = json.loads(await envoy_admin.get(admin, target)).get("configs", [])
    except envoy_admin.Refused as refused:
        if refused.status != 404:  # It has none.
            logger.warning("Envoy did not tell which names it has", extra={"fields": {"error": refused}})
        return []
    except (OSError, TimeoutError, ValueError, EOFError) as error:
        logger.warning("Envoy did not tell which names it has", extra={"fields": {"error": repr(error)}})
        return []
    return dump
