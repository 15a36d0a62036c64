"""An authoritative DNS server for the zone `test.`, on loopback, over UDP and TCP. It refuses every other zone."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ZONE = dns.name.from_text("test.")
PLAIN_UDP = 512


class FakeDns:
    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.over_tcp = 0
        self.negative_ttl = 60
        self._records: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
        self._codes: dict[str, dns.rcode.Rcode] = {}
        self._referred: set[str] = set()
        self._is_dark = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        self._records[name, kind] = ttl, values

    def remove(self, name: str) -> None:
        for key in [key for key in self._records if key[0] == name]:
            del self._records[key]

    def fail(self, name: str, code: dns.rcode.Rcode) -> None:
        """Answers about `name` have this code, until it is NOERROR."""
        self._codes[name] = code

    def refer(self, name: str) -> None:
        """Answers about `name` only say who else may know."""
        self._referred.add(name)

    def go_dark(self) -> None:
        self._is_dark = True

    def come_back(self) -> None:
        self._is_dark = False

    def answer(self, wire: bytes, limit: int | None) -> bytes | None:
        """`limit`: the longest answer that may be sent; a longer one is cut and says so."""
        if self._is_dark:
            return None
        query = dns.message.from_wire(wire)
        response = self._response(query)
        text = response.to_wire()
        if limit is not None and len(text) > max(limit, query.payload):
            response.answer.clear()
            response.flags |= dns.flags.TC
            text = response.to_wire()
        return text

    def _response(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        code = self._codes.get(name, dns.rcode.NOERROR)
        if not question.name.is_subdomain(ZONE):
            code = dns.rcode.REFUSED
        response.set_rcode(code)
        if code != dns.rcode.NOERROR:
            return response
        if name in self._referred:
            response.authority.append(dns.rrset.from_text("test.", 60, "IN", "NS", "elsewhere.test."))
            return response
        response.flags |= dns.flags.AA
        self._fill(response, name, kind)
        return response

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        while (alias := self._records.get((name, "CNAME"))) is not None:
            response.answer.append(dns.rrset.from_text(name, alias[0], "IN", "CNAME", *alias[1]))
            name = alias[1][0]
        found = self._records.get((name, kind))
        if found is not None:
            response.answer.append(dns.rrset.from_text(name, found[0], "IN", kind, *found[1]))
            return
        soa = f"ns.test. admin.test. 1 60 60 60 {self.negative_ttl}"
        response.authority.append(dns.rrset.from_text("test.", self.negative_ttl, "IN", "SOA", soa))
        if not any(key[0] == name for key in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = self._server.answer(data, PLAIN_UDP)
        if text is not None:
            self._transport.sendto(text, addr)


@asynccontextmanager
async def fake_dns() -> AsyncIterator[FakeDns]:
    server = FakeDns()

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                text = server.answer(await reader.readexactly(length), None)
                if text is not None:
                    server.over_tcp += 1
                    writer.write(struct.pack("!H", len(text)) + text)
                    await writer.drain()
        writer.close()

    tcp = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    server.port = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=("127.0.0.1", server.port))
    try:
        yield server
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()
        await asyncio.sleep(0)
