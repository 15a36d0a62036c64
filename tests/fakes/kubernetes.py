"""An API server that knows Services, EndpointSlices and namespaces, and can be made to fail as a real one does.

Its semantics are those measured on a real one; `test_fake_kubernetes` has kubectl and the official client judge it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.kubernetes_api import Api, Refused, Unknown, defaulted
from tests.fakes.kubernetes_store import KINDS, Store

SERVICE_NAME = "kubernetes.io/service-name"
_HALF_A_LINE = b'{"type":"MODIFIED","object":{"kind":"End'


@dataclass(slots=True)
class FakeKubernetes:
    token: str = ""
    ca_file: Path | None = None
    unexpected: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    store: Store = field(default_factory=Store)
    api: Api = field(init=False)
    port: int = 0
    _tls: ssl.SSLContext | None = None
    _fault: str = ""
    _stalled: str = ""
    _refusal: Refused | None = None
    _runner: web.ServerRunner | None = None

    def __post_init__(self) -> None:
        self.api = Api(self.store)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def silent(self) -> bool:
        """What changes is stored, and nobody is told."""
        return self.store.silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self.store.silent = silent

    @property
    def history(self) -> int:
        """How many changes a watch may begin before."""
        return self.store.history

    @history.setter
    def history(self, history: int) -> None:
        self.store.history = history

    @property
    def gone_as_status(self) -> bool:
        """410 as the status of the answer, not in the stream."""
        return self.api.gone_as_status

    @gone_as_status.setter
    def gone_as_status(self, gone: bool) -> None:
        self.api.gone_as_status = gone

    # What is true

    def put(self, resource: str, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        self.store.put(KINDS[resource], namespace, name, body)

    def delete(self, resource: str, namespace: str, name: str) -> None:
        self.store.delete(KINDS[resource], namespace, name)

    def put_service(self, namespace: str, name: str, ports: list[dict[str, Any]] | None = None, **spec: object) -> None:
        body = {"spec": {**({"ports": ports} if ports else {}), **spec}}
        self.put("services", namespace, name, defaulted(KINDS["services"], name, body))

    def put_slice(
        self,
        namespace: str,
        service: str,
        name: str,
        endpoints: list[dict[str, Any]],
        ports: list[dict[str, Any]],
        address_type: str = "IPv4",
    ) -> None:
        metadata = {"labels": {SERVICE_NAME: service}}
        body = {"metadata": metadata, "addressType": address_type, "endpoints": endpoints, "ports": ports}
        self.put("endpointslices", namespace, name, body)

    # What goes wrong

    def expire(self) -> None:
        """The past is forgotten: open watches are told so, later ones with an older version too."""
        self.store.expire()
        for watch in self.store.watches:
            self.api.gone(watch, "too old resource version")

    def bookmark(self) -> None:
        for watch in self.store.watches:
            watch.bookmark(self.store.version)

    def cut_watch(self, half_a_line: bool = False) -> None:
        """Ends the open watches: as it should be, or within a line, with the connection."""
        for watch in self.store.watches:
            # First, so that nothing that changes later is glued to the half line.
            self.store.leave(watch)
            if half_a_line:
                watch.say(_HALF_A_LINE)
                watch.breaks = True
            watch.end()

    def stall(self, resource: str = "") -> None:
        """What is asked of one resource, or of all, is taken and never answered."""
        self._fault, self._stalled = "stall", resource

    def garble(self) -> None:
        """Also in the watches that are open."""
        self._fault = "garble"
        for watch in self.store.watches:
            watch.say(b"<html>\n")

    def halve(self) -> None:
        self._fault = "halve"

    def refuse(self, status: int, reason: str = "") -> None:
        self._fault, self._refusal = "refuse", Refused(status, "it is refused by the test", reason)

    def heal(self) -> None:
        self._fault = ""

    async def go_dark(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        """On the same port."""
        self._runner = web.ServerRunner(web.Server(self.answer, handler_cancellation=True), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        self.port = self._runner.addresses[0][1]

    # What is answered

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if self._fault == "stall" and request.path.endswith(self._stalled):
            await asyncio.get_running_loop().create_future()
        if self._fault == "garble":
            return web.Response(body=b"<html>busy</html>", content_type="text/html")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return Refused(401, "Unauthorized").response()
        if self._fault == "refuse" and self._refusal is not None:
            return self._refusal.response()
        try:
            answer = await self.api.answer(request)
        except Refused as refused:
            return refused.response()
        except Unknown as unknown:
            self.unexpected.append(f"{request.method} {request.path_qs}: {unknown}")
            return web.Response(status=404, text="404 page not found\n")
        if self._fault == "halve" and isinstance(answer, web.Response):
            return await _half(request, answer)
        return answer


async def _half(request: web.BaseRequest, answer: web.Response) -> web.StreamResponse:
    body = bytes(answer.body)  # type: ignore[arg-type]
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def fake_kubernetes(*, tls: bool = False, token: str = "") -> AsyncIterator[FakeKubernetes]:
    with tempfile.TemporaryDirectory(prefix="kubernetes-") as folder:
        fake = FakeKubernetes(token=token)
        if tls:
            fake.ca_file, fake._tls = _certified(Path(folder))
        await fake.come_back()
        try:
            yield fake
        finally:
            await fake.go_dark()
    assert not fake.unexpected, fake.unexpected


def kubeconfig(fake: FakeKubernetes, folder: Path) -> Path:
    """Its context is `fake`."""
    authority = {"certificate-authority": str(fake.ca_file)} if fake.ca_file else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "test"}}],
        "clusters": [{"name": "fake", "cluster": {"server": fake.url, **authority}}],
        "users": [{"name": "test", "user": {"token": fake.token} if fake.token else {}}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def _certified(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake-kubernetes")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ca_file, key_file)
    return ca_file, context
