"""From the configuration's files of certificates to the names of their secrets, which listeners and clusters use."""

from __future__ import annotations

from mesh.config.material import Named, of_policies, of_routers
from mesh.config.model import Config
from mesh.config.routers import Router
from mesh.envoy.origination import authorities_name, certificate_name
from mesh.envoy.tls import ServerTls

_KINDS = {"cert": "certificate", "client_ca": "client-ca"}


def named_secrets(config: Config) -> dict[str, Named]:
    names = [router.name for router in config.routers]
    found = {_of_router(names[int(each.loc[1])], each.key): each for each in of_routers(config.routers)}
    return found | {_of_policy(config, each): each for each in of_policies(config.policies)}


def server_tls(router: Router) -> ServerTls | None:
    if (tls := router.tls) is None:
        return None
    authorities = _of_router(router.name, "client_ca") if tls.client_ca is not None else None
    return ServerTls(_of_router(router.name, "cert"), authorities, tls.require_client_cert, tls.min_version)


def _of_router(name: str, key: str) -> str:
    """Not of the file: where another one is configured, the listener stays and its connections too."""
    return f"router/{name}/{_KINDS[key]}"


def _of_policy(config: Config, named: Named) -> str:
    if named.private is not None:
        return certificate_name(named.file, named.private)
    tls = config.policies[int(named.loc[1])].tls
    assert tls is not None
    return authorities_name(tls)
