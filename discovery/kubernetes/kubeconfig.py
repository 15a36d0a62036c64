"""Access by a kubeconfig and one of its contexts: tokens, client certificates, plugins. Read by `kubernetes.aio`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from discovery.kubernetes.access import Access
from discovery.source import Misconfigured


def library() -> tuple[Any, Any]:
    """`kubernetes.aio`'s client and config: 11 MB, so not before a source needs them. Raises Misconfigured."""
    try:
        from kubernetes.aio import client, config
    except ModuleNotFoundError as error:
        raise Misconfigured("a kubeconfig needs the package kubernetes: install tieline[kubernetes]") from error
    return client, config


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """`file`: None for $KUBECONFIG, else `~/.kube/config`. `context`: None for the file's current one."""

    file: FilePath | None
    context: str | None

    async def __call__(self) -> Access:
        settings = await self.settings()
        return Access(
            url=settings.host.rstrip("/"),
            credential=_Token(self, _header(settings)),
            ssl=self._tls(settings) if settings.host.startswith("https:") else True,
            server_name=settings.tls_server_name or None,
            proxy=settings.proxy or None,
        )

    async def settings(self) -> Any:
        client, config = library()
        settings = client.Configuration()
        try:
            await config.load_kube_config(
                config_file=str(self.file.expanduser()) if self.file is not None else None,
                context=self.context,
                client_configuration=settings,
                persist_config=False,
            )
        except (config.ConfigException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # What of a file is not as it should be reaches us as almost anything.
            raise Misconfigured(f"{self._shown} cannot be used: {_without_entries(error)}") from error
        except _yaml_error() as error:
            raise Misconfigured(f"{self._shown} cannot be used: it is no YAML") from error
        return settings

    def _tls(self, settings: Any) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
            # Python 3.13 is strict by default, and clusters' own authorities often lack what it asks for.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            raise Misconfigured(f"{self._shown}: its certificates cannot be used: {error}") from error
        if not settings.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def _shown(self) -> str:
        file = self.file if self.file is not None else "of $KUBECONFIG or ~/.kube/config"
        return f"kubeconfig {file}" + (f", context {self.context}" if self.context is not None else "")


@dataclass(slots=True)
class _Token:
    """What plugins and token files say is asked for again when it is refused."""

    _kubeconfig: Kubeconfig
    _value: str = field(repr=False)

    async def header(self) -> str:
        return self._value

    async def renew(self, refused: str) -> bool:
        self._value = _header(await self._kubeconfig.settings())
        return self._value != refused


def _header(settings: Any) -> str:
    return " ".join(str(settings.api_key.get("BearerToken", "")).split())


def _without_entries(error: Exception) -> str:
    """The library calls a node by its whole entry, which may hold a token or a client's secret."""
    said = str(error)
    return said if "{" not in said else f"{said[: said.index('{')]}…"


def _yaml_error() -> type[Exception]:
    import yaml

    return yaml.YAMLError
