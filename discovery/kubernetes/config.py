"""`kind: kubernetes` in the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from discovery.dns.resolver import Family, Resolver
from discovery.kubernetes import access, kubeconfig
from discovery.kubernetes.access import Address, InCluster, Way
from discovery.kubernetes.kubeconfig import Kubeconfig
from discovery.kubernetes.source import KubernetesFeed, Scope
from discovery.settings import Duration, SourceConfig
from discovery.shared import Shared
from discovery.source import Freshness, Hears

_EXAMPLES = "http://127.0.0.1:8001 or https://kubernetes.example:6443"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError(f"{_EXAMPLES} expected: {error}") from error
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in the address: use token_file")
    if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
        raise ValueError(f"{_EXAMPLES} expected, not {text!r}")
    return text.rstrip("/")


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(f"the name of a namespace, such as shop, expected, not {text!r}")
    return text


class KubernetesConfig(SourceConfig):
    segments: ClassVar[int] = 3

    kind: Literal["kubernetes"] = "kubernetes"
    kubeconfig: FilePath | None = None
    """Unless said, and outside a pod, `$KUBECONFIG` or `~/.kube/config`."""
    context: str | None = None
    """Of the kubeconfig; its current one unless said."""
    in_cluster: bool | None = None
    """By the service account of the pod we are in. Unless said: when this is a pod and nothing else is set."""
    url: Annotated[str, AfterValidator(_checked)] | None = None
    """The API server, or a `kubectl proxy`, instead of a kubeconfig."""
    token_file: FilePath | None = None
    """With `url`; read again when it changes."""
    ca_file: FilePath | None = None
    """With `url`: who may have signed its certificate; the system's authorities unless said."""
    namespaces: tuple[Annotated[str, AfterValidator(_namespace)], ...] = ()
    """Only these, each with a list and a watch of its own. None: all, which needs a ClusterRole."""
    selector: Annotated[str, Field(min_length=1)] | None = None
    """Of labels, such as `team=shop,tier!=test`: only Services, and EndpointSlices, that have them."""
    family: Family = Family.V4_PREFERRED
    """Which address of a pod that has several: v4_preferred, v4_only, v6_only or all."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """For an answer to begin, and for it to go on."""
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Objects in one answer to a list."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        by_kubeconfig = self.kubeconfig is not None or self.context is not None
        if sum((by_kubeconfig, bool(self.in_cluster), self.url is not None)) > 1:
            raise ValueError("url, in_cluster, and kubeconfig with context, are three ways to the cluster: keep one")
        if self.url is None and (self.token_file is not None or self.ca_file is not None):
            raise ValueError("token_file and ca_file go with url")
        if self.ca_file is not None and self.url is not None and not self.url.startswith("https:"):
            raise ValueError(f"ca_file is set but the url is {self.url}: https:// expected")
        if len(set(self.namespaces)) < len(self.namespaces):
            raise ValueError("namespaces names one twice")
        return self

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.EVENTS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shared]:
        way = self._way()
        if isinstance(way, Kubeconfig):
            kubeconfig.library()
        scope = Scope(self.namespaces, self.selector or "", self.page_size)
        resolver = Resolver(family=self.family, timeout=min(self.timeout, 5.0))
        feed = KubernetesFeed(way, scope, self.family, resolver.resolve, self.timeout)
        async with Shared(feed) as source:
            yield source

    def _way(self) -> Way:
        if self.url is not None:
            return Address(self.url, self.token_file, self.ca_file)
        is_asked = self.kubeconfig is not None or self.context is not None or self.in_cluster is False
        if self.in_cluster or (not is_asked and access.HOST in os.environ):
            return InCluster()
        return Kubeconfig(self.kubeconfig, self.context)
