"""From the configuration's files of certificates to the names of their secrets, which listeners and clusters use."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.config.material import Named, of_policies, of_routers
from mesh.config.routers import Router
from mesh.envoy.origination import authorities_name, certificate_name
from mesh.envoy.tls import ServerTls
from mesh.policy.entry import PolicyEntry

_KINDS = {"cert": "certificate", "client_ca": "client-ca"}


def named_secrets(routers: Sequence[Router], policies: Sequence[PolicyEntry]) -> dict[str, Named]:
    found = {_of_router(routers[int(each.loc[1])].name, each.key): each for each in of_routers(routers)}
    return found | {_of_policy(policies, each): each for each in of_policies(policies)}


def server_tls(router: Router) -> ServerTls | None:
    if (tls := router.tls) is None:
        return None
    authorities = _of_router(router.name, "client_ca") if tls.client_ca is not None else None
    return ServerTls(_of_router(router.name, "cert"), authorities, tls.require_client_cert, tls.min_version)


def _of_router(name: str, key: str) -> str:
    """Not of the file: where another one is configured, the listener stays and its connections too."""
    return f"router/{name}/{_KINDS[key]}"


def _of_policy(policies: Sequence[PolicyEntry], named: Named) -> str:
    if named.private is not None:
        return certificate_name(named.file, named.private)
    tls = policies[int(named.loc[1])].tls
    assert tls is not None
    return authorities_name(tls)
