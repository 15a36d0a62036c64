"""Where the API server is, and how it is spoken to: an address, what a pod finds in itself, or a kubeconfig."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from discovery.kubernetes.credentials import Anonymous, Credential, TokenFile
from discovery.source import Misconfigured

HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
SERVICE_ACCOUNT = FilePath("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    url: str
    credential: Credential
    ssl: ssl.SSLContext | bool = True
    server_name: str | None = None
    """The name in its certificate, where it is not the address."""
    proxy: str | None = None


Way = Callable[[], Awaitable[Access]]
"""Finds the access, anew whenever the observation begins anew. Raises Misconfigured."""


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    token_file: FilePath | None = None
    ca_file: FilePath | None = None

    async def __call__(self) -> Access:
        credential = TokenFile(self.token_file) if self.token_file is not None else Anonymous()
        context = _trusting(self.ca_file) if self.url.startswith("https:") else True
        return Access(self.url, credential, context)


@dataclass(frozen=True, slots=True)
class InCluster:
    """As every pod finds it: two variables, and the files of its service account."""

    folder: FilePath = SERVICE_ACCOUNT
    environ: Mapping[str, str] | None = None

    async def __call__(self) -> Access:
        environ = os.environ if self.environ is None else self.environ
        host, port = environ.get(HOST), environ.get(PORT)
        if not host or not port:
            raise Misconfigured(f"this is no pod of Kubernetes: {HOST} and {PORT} are not set; say url or kubeconfig")
        shown = f"[{host}]" if ":" in host else host
        return await Address(f"https://{shown}:{port}", self.folder / "token", self.folder / "ca.crt")()


def _trusting(ca_file: FilePath | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise Misconfigured(f"the certificates in {ca_file} cannot be used: {error.strerror or error}") from error
    # Python 3.13 is strict by default, and clusters' own authorities often lack what it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
