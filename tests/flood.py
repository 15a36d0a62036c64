"""Many requests with Host headers of the test's choice, written by hand: no client library would send them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

CALLERS = 8
LABEL = string.ascii_lowercase + string.digits + "-"


async def flood(port: int, hosts: Iterable[bytes]) -> Counter[int]:
    """How often which status was answered; 0: the connection was closed without one."""
    rest, seen = iter(hosts), Counter[int]()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(_call(port, rest, seen))
    return seen


async def _call(port: int, hosts: Iterator[bytes], seen: Counter[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for host in hosts:
        status, stays = 0, False
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
            status, stays = await _answer(reader)
        seen[status] += 1
        if not stays:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status, and whether the connection may be used again."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
    if length:
        await reader.readexactly(int(length))
    return int(head.split()[1]), bool(length) and b"connection: close" not in head


def hosts(count: int, seed: int = 0) -> Iterator[bytes]:
    """Mostly names that could be; some with a port, illegal characters, bytes of no encoding, or thousands long."""
    dice = random.Random(seed)
    kinds: Sequence[str] = ("label",) * 12 + ("dots", "port", "long", "junk", "bytes", "unicode")
    for _ in range(count):
        yield _host(dice, dice.choice(kinds))


def _host(dice: random.Random, kind: str) -> bytes:
    label = "".join(dice.choices(LABEL, k=dice.randrange(1, 40)))
    match kind:
        case "dots":
            return f"{label}.{label[:5]}.example.com.".encode()
        case "port":
            return f"{label}:{dice.randrange(100_000)}".encode()
        case "long":
            return (label * 2000)[: dice.choice((64, 253, 254, 256, 4000, 30_000, 70_000))].encode()
        case "junk":
            return "".join(dice.choices(string.printable[:-5], k=20)).encode()
        case "bytes":
            return bytes(dice.choices([*range(0x21, 0x7F), *range(0x80, 0x100)], k=20))
        case "unicode":
            return "".join(chr(dice.randrange(0x80, 0x2000)) for _ in range(20)).encode()
        case _:
            return label.encode()
