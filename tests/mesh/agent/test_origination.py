"""TLS to endpoints, through a real agent and Envoy, against real servers: aiohttp and gRPC."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
from aiohttp import web

from mesh.agent import envoy_admin
from scripts.ports import free_port
from scripts.running import eventually
from tests.certificates import Authority, Signed
from tests.host import PATIENCE, Host, host, running
from tests.upstream import upstream


@dataclass(slots=True)
class Secure:
    """What a server saw."""

    port: int = 0
    names: list[str | None] = field(default_factory=list)
    schemes: list[str] = field(default_factory=list)
    clients: list[object] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)


@asynccontextmanager
async def secure(folder: Path, signed: Signed, clients: Authority | None = None) -> AsyncIterator[Secure]:
    """An HTTPS service. `clients`: shows its certificate only to those that this authority knows."""
    seen = Secure()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*signed.write(folder / f"server{signed.serial}"))
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = lambda _socket, name, _context: seen.names.append(name)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.signed.pem.decode())

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("secure")
            await socket.close()
            return socket
        assert request.transport is not None
        shown = request.transport.get_extra_info("ssl_object")
        seen.clients.append(shown.getpeercert())
        seen.protocols.append(shown.selected_alpn_protocol())
        return web.Response(text="secure")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        seen.port = runner.addresses[0][1]
        yield seen
    finally:
        await runner.cleanup()


# asyncio leaves open, when a server ends, what did not get through its handshake: here that is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What these tests leave open is collected while its warning is ignored, and not in the test that comes next."""
    yield
    gc.collect()


AUTHORITY, STRANGER = Authority(), Authority("stranger")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def shared(place: Path) -> Iterator[Host]:
    ca = str(AUTHORITY.write(place))
    cert, key = AUTHORITY.server("spiffe://example/proxy").write(place, "client")
    plain = {"ca": ca}
    policies = [
        {"match": "/svc/users", "tls": plain},
        {"match": "/svc/of-{team}", "tls": {"ca": ca, "sni": "{team}.example.com"}},
        {"match": "/svc/spiffe", "tls": {"ca": ca, "san": ["spiffe://example/users", "other"]}},
        {"match": "/svc/system", "tls": {"sni": "users"}},
        {"match": "/svc/anyone", "tls": {"verify": False}},
        {"match": "/svc/mutual", "tls": {"ca": ca, "sni": "users", "cert": str(cert), "key": str(key)}},
        {"match": "/svc/calls", "tls": plain},
        {"match": "/#/files/below", "tls": plain},
        {"match": "/svc/checked", "tls": plain, "health_check": {"interval": "100ms", "path": "/"}},
    ]
    with running("/svc => /#/files ; /svc/above => /#/files/below", policies=policies) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def test_a_service_is_asked_by_name_over_tls_and_must_prove_it(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("users")) as users:
        shared.put("users", users.port)
        answer = await shared.call("users")
        assert (answer.status, answer.body) == (200, "secure")
        assert set(users.names) == {"users"}
        assert users.protocols == ["http/1.1"]


async def test_the_wrong_certificate_is_an_answer_that_names_tls(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("another")) as users:
        shared.put("users", users.port)

        async def refused() -> bool:
            answer = await shared.call("users")
            return answer.status == 503 and "TLS with an endpoint of users failed: TLS_error" in answer.err

        await eventually(refused, PATIENCE, "a certificate of another name is believed")
        assert "SAN_matcher" in (await shared.call("users")).err
    async with secure(place, STRANGER.server("users")) as users:
        shared.put("users", users.port)

        async def unknown() -> bool:
            return "CERTIFICATE_VERIFY_FAILED" in (await shared.call("users")).err

        await eventually(unknown, PATIENCE, "a strange authority is believed")


async def test_the_name_that_is_asked_for_may_hold_captures(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("*.example.com")) as red:
        shared.put("of-red", red.port)
        assert (await shared.call("of-red")).status == 200
        assert set(red.names) == {"red.example.com"}


async def test_the_host_of_an_inet_name_is_what_is_asked_for(place: Path) -> None:
    policies = [{"match": "/$/inet", "tls": {"ca": str(place / "ca.pem")}}]
    async with secure(place, AUTHORITY.server("localhost", "127.0.0.1")) as users:
        dtab = f"/svc/name => /$/inet/localhost/{users.port} ; /svc/address => /$/inet/127.0.0.1/{users.port}"
        async with host(dtab, policies=policies) as started:
            assert (await started.call("name")).status == 200
            assert set(users.names) == {"localhost"}
            assert (await started.call("address")).status == 200
            assert None in users.names
            await started.no_nacks()


async def test_a_certificate_may_be_known_by_its_uri(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("spiffe://example/users")) as users:
        shared.put("spiffe", users.port)
        assert (await shared.call("spiffe")).status == 200


async def test_the_hosts_own_authorities_are_the_default(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("users")) as users:
        shared.put("system", users.port)
        answer = await shared.call("system")
        assert (answer.status, "TLS with an endpoint" in answer.err) == (503, True)


async def test_who_wants_no_proof_gets_none(shared: Host, place: Path) -> None:
    async with secure(place, STRANGER.server("nobody")) as users:
        shared.put("anyone", users.port)
        assert (await shared.call("anyone")).status == 200


async def test_the_proxy_shows_its_own_certificate(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("users"), clients=AUTHORITY) as users:
        shared.put("mutual", users.port)
        assert (await shared.call("mutual")).status == 200
        assert "spiffe://example/proxy" in str(users.clients)


async def test_a_policy_of_a_bound_name_holds_for_all_who_lead_there(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("below")) as below:
        shared.put("below", below.port)
        assert (await shared.call("above")).status == 200
        assert set(below.names) == {"below"}


async def test_health_is_asked_over_tls(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("checked")) as checked:
        shared.put("checked", checked.port)
        assert (await shared.call("checked")).status == 200

        async def asked() -> bool:
            return len(checked.protocols) > 3

        await eventually(asked, PATIENCE, "no health check")
        assert (await shared.call("checked")).status == 200


async def test_websockets_pass(shared: Host, place: Path) -> None:
    async with secure(place, AUTHORITY.server("users")) as users:
        shared.put("users", users.port)

        async def open_again() -> bool:
            return (await shared.call("users")).status == 200

        await eventually(open_again, PATIENCE, "the service is not reached")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(shared.agent.url, headers={"host": "users"}) as socket,
        ):
            assert await socket.receive_str() == "secure"


async def test_grpc_over_tls(shared: Host) -> None:
    async def say(request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return b"heard " + request

    signed = AUTHORITY.server("calls")
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say, request_deserializer=bytes, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(signed.key, signed.pem)]))
    await server.start()
    shared.put("calls", port)
    options = [("grpc.default_authority", "calls")]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.agent.port}", options=options) as channel:
            call = channel.unary_unary("/t.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
            assert await call(b"hello", timeout=10) == b"heard hello"
        # It speaks nothing but HTTP/2, so that is what any other request agrees on with it. It is no call, and reset.
        assert (await shared.call("calls", "/none", "POST")).err == "the endpoint of calls broke off"
        stats = await envoy_admin.get(shared.agent.folder / "run" / "envoy.sock", "/stats?filter=files/calls.*cx_http")
        counted = [line for line in stats.decode().splitlines() if not line.endswith(": 0")]
        assert len(counted) == 2, counted
        assert all("upstream_cx_http2_total" in line for line in counted)
    finally:
        await server.stop(None)


async def test_another_authority_is_trusted_when_its_file_changes(place: Path, tmp_path: Path) -> None:
    ca = AUTHORITY.write(tmp_path)
    policies = [{"match": "/svc", "tls": {"ca": str(ca)}, "ejection": None}]
    async with host(policies=policies) as started, secure(place, STRANGER.server("users")) as users:
        started.put("users", users.port)
        assert (await started.call("users")).status == 503
        ca.write_bytes(AUTHORITY.signed.pem + STRANGER.signed.pem)
        await started.until("users", "secure")
        ca.write_bytes(b"-----BEGIN CERTIFICATE-----\nbad\n-----END CERTIFICATE-----\n")

        async def told() -> bool:
            return "damaged" in str((await started.json("/status"))["certificates"])

        await eventually(told, PATIENCE, "status says nothing of the bad file")
        assert (await started.call("users")).status == 200
        await started.no_nacks()


async def test_an_endpoint_that_is_no_tls_server_is_told_from_one_that_is_away(place: Path) -> None:
    async with host(policies=[{"match": "/svc", "tls": {"verify": False}}]) as started:
        started.put("away", free_port())
        assert (await started.call("away")).err == "no endpoint of away could be reached"
        async with upstream("plain") as plain:
            started.put("plain", plain.port)
            assert "TLS with an endpoint of plain failed" in (await started.call("plain")).err
        await started.no_nacks()
