"""Host names and SRV records, by dnspython: time-outs, retries over several servers, TCP after a truncated answer.

An answer is a fact, also the answer that there is nothing: no addresses. Everything else is `Unavailable`: SERVFAIL,
REFUSED, a time-out, a referral instead of an answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from pathlib import Path as FilePath

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.IN.SRV import SRV

from discovery.dns.hosts import Hosts, Stamp, stamp
from discovery.dns.records import Srv, is_literal
from discovery.dns.together import together
from discovery.source import Unavailable

Resolve = Callable[[str], Awaitable[tuple[tuple[str, ...], float]]]
"""`Resolver.resolve`, for those who need no more of it."""
Answer = tuple[tuple[dns.rdata.Rdata, ...], float]

FOREVER_SECONDS = 86_400.0
"""How long an address literal is good for; finite, so that it can be given to a timer."""
HOSTS_FILE_SECONDS = 5.0
NOTHING_SECONDS = 30.0
"""No answer that there is nothing is believed for longer: a name that appears should be seen."""
UNSTATED_NOTHING_SECONDS = 5.0
CACHED_ANSWERS = 10_000


class Family(Enum):
    """As Envoy's `dns_lookup_family`."""

    V4_PREFERRED = "v4_preferred"
    V4_ONLY = "v4_only"
    V6_ONLY = "v6_only"
    ALL = "all"


class Resolver:
    """`nameservers`: `address` or `address:port`; with none those of `resolv_conf`, read again when it changes."""

    def __init__(
        self,
        *,
        nameservers: Sequence[str] = (),
        family: Family = Family.V4_PREFERRED,
        timeout: float = 5.0,
        shortest_ttl: float = 1.0,
        longest_ttl: float = 300.0,
        resolv_conf: FilePath = FilePath("/etc/resolv.conf"),
        hosts_file: FilePath = FilePath("/etc/hosts"),
    ) -> None:
        self._nameservers = [nameserver(text) for text in nameservers]
        self._family, self._timeout, self._shortest = family, timeout, shortest_ttl
        self._resolv_conf, self._hosts = resolv_conf, Hosts(hosts_file)
        self._cache = _Cache(longest_ttl)
        self._asking: dns.asyncresolver.Resolver | None = None
        self._stamp: Stamp | None = None

    async def resolve(self, host: str) -> tuple[tuple[str, ...], float]:
        """Its addresses, and for how many seconds they are good. None: there is no such host. Raises Unavailable."""
        if is_literal(host):
            return (host,), FOREVER_SECONDS
        known = self._of_family(self._hosts.addresses(host)) or self._of_family(_loopback(host))
        if known:
            return known, HOSTS_FILE_SECONDS
        return await self._addresses(host)

    async def services(self, name: str) -> tuple[tuple[Srv, ...], float]:
        """Its SRV records, as `resolve`."""
        answer, seconds = await self._ask(name, "SRV")
        records = [rdata for rdata in answer if isinstance(rdata, SRV)]
        return tuple(Srv(_text(srv.target), srv.port, srv.priority, srv.weight) for srv in records), seconds

    async def _addresses(self, host: str) -> tuple[tuple[str, ...], float]:
        match self._family:
            case Family.V4_ONLY:
                answers = [await self._ask(host, "A")]
            case Family.V6_ONLY:
                answers = [await self._ask(host, "AAAA")]
            case Family.ALL:
                answers = await together([self._ask(host, "A"), self._ask(host, "AAAA")])
            case Family.V4_PREFERRED:
                answers = [await self._ask(host, "A")]
                if not answers[0][0]:
                    answers.append(await self._ask(host, "AAAA"))
        found = sorted({rdata.to_text() for rdatas, _ in answers for rdata in rdatas})
        return tuple(found), min(seconds for _, seconds in answers)

    async def _ask(self, name: str, kind: str) -> Answer:
        question = _name(name)
        if question is None:
            return (), NOTHING_SECONDS
        try:
            asking = self._current()
            answer = await asking.resolve(question, kind, lifetime=self._timeout, search=True, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as nothing:
            return (), min(map(self._nothing_seconds, nothing.kwargs["responses"].values()))
        except dns.exception.Timeout as failure:
            raise Unavailable(
                f"DNS: {name} {kind}: no answer within {self._timeout:g} s from {self._servers()}"
            ) from failure
        except (dns.exception.DNSException, OSError) as failure:
            raise Unavailable(f"DNS: {name} {kind}: {_why(failure)}") from failure
        if answer.rrset is not None:
            return tuple(answer), max(self._shortest, answer.expiration - time.time())
        if _is_partial(answer.response):
            raise Unavailable(f"DNS: {name} {kind}: the server answered with only a part (a referral or a bare alias)")
        return (), self._nothing_seconds(answer.response)

    def _nothing_seconds(self, response: dns.message.Message) -> float:
        """RFC 2308: as the zone's SOA says, within bounds."""
        minimum = [rdata.minimum for rrset in response.authority for rdata in rrset if isinstance(rdata, SOA)]
        ttls = [rrset.ttl for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
        stated = min([*minimum, *ttls], default=UNSTATED_NOTHING_SECONDS)
        return min(max(stated, self._shortest), NOTHING_SECONDS)

    def _current(self) -> dns.asyncresolver.Resolver:
        now = None if self._nameservers else stamp(self._resolv_conf)
        if self._asking is None or now != self._stamp:
            asking = dns.asyncresolver.Resolver(filename=str(self._resolv_conf), configure=not self._nameservers)
            if self._nameservers:
                asking.nameservers = self._nameservers
            asking.cache = self._cache
            self._cache.flush()
            self._asking, self._stamp = asking, now
        return self._asking

    def _servers(self) -> str:
        servers = self._asking.nameservers if self._asking else []
        return ", ".join(
            each if isinstance(each, str) else f"{each.answer_nameserver()}:{each.answer_port()}" for each in servers
        )

    def _of_family(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        old = tuple(address for address in addresses if ":" not in address)
        new = tuple(address for address in addresses if ":" in address)
        match self._family:
            case Family.V4_ONLY:
                return old
            case Family.V6_ONLY:
                return new
            case Family.ALL:
                return old + new
            case Family.V4_PREFERRED:
                return old or new


class _Cache(dns.resolver.LRUCache):
    """Keeps only what there is, and nothing for longer than `longest`."""

    def __init__(self, longest: float) -> None:
        super().__init__(CACHED_ANSWERS)
        self._longest = longest

    def put(self, key: dns.resolver.CacheKey, value: dns.resolver.Answer) -> None:
        if value.rrset is not None:
            value.expiration = min(value.expiration, time.time() + self._longest)
            super().put(key, value)


def _loopback(host: str) -> tuple[str, ...]:
    """RFC 6761: `localhost` and what is below it is this host, whoever is asked."""
    label = host.lower().removesuffix(".").rpartition(".")[2]
    return ("127.0.0.1", "::1") if label == "localhost" else ()


def _name(text: str) -> dns.name.Name | None:
    """None: no name could be written like this, so there is none."""
    try:
        return dns.name.from_text(text, None)
    except (dns.exception.DNSException, UnicodeError):
        return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _is_partial(response: dns.message.Message) -> bool:
    kinds = {rrset.rdtype for rrset in response.authority}
    if dns.rdatatype.SOA in kinds:
        return False
    return bool(response.answer) or (dns.rdatatype.NS in kinds and not response.flags & dns.flags.AA)


def _why(failure: Exception) -> str:
    """What the last server asked said or did."""
    errors = failure.kwargs.get("errors") if isinstance(failure, dns.resolver.NoNameservers) else None
    if not errors:
        return str(failure) or type(failure).__name__
    server, _, port, reason, _ = errors[-1]
    return f"{server.removesuffix(f'@{port}')}: {reason}"


def nameserver(text: str) -> dns.nameserver.Nameserver:
    """`address`, `address:port` or `[address]:port`. Raises ValueError."""
    if is_literal(text):
        return dns.nameserver.Do53Nameserver(text, 53)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not is_literal(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"the address of a name server, such as 10.0.0.2 or 10.0.0.2:5353, expected, not {text!r}")
    return dns.nameserver.Do53Nameserver(host, int(port))
