"""A load generator: keep-alive HTTP/1.1 connections that each send the next request when the answer is in.

    python -m bench.load HOST:PORT NAME SECONDS CONNECTIONS   ->  one JSON line

A process of its own, so that its CPU is nobody else's. It counts bytes, not headers: every answer of one run has the
same length, found out by the first one.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from bench.processes import percentile

_LATENCY = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)")
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Result:
    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rps(self) -> float:
        return self.requests / self.seconds


@dataclass(slots=True)
class Tally:
    until: float
    times: list[float] = field(default_factory=list)
    failed: int = 0


class Caller(asyncio.Protocol):
    def __init__(self, request: bytes, tally: Tally, done: asyncio.Event) -> None:
        self._request, self._tally, self._done = request, tally, done
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._received = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        now = time.perf_counter()
        self._tally.times.append(now - self._sent)
        if not self._received.startswith(b"HTTP/1.1 200"):
            self._tally.failed += 1
        if now < self._tally.until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if time.perf_counter() < self._tally.until:
            self._tally.failed += 1
        self._done.set()


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : at + 30].split(b"\r", 1)[0]) if at >= 0 else 0


async def run(address: str, name: str, seconds: float, connections: int) -> Result:
    host, _, port = address.partition(":")
    request = f"GET / HTTP/1.1\r\nhost: {name}\r\nuser-agent: bench\r\n\r\n".encode()
    began = time.perf_counter()
    tally = Tally(began + seconds)
    loop = asyncio.get_running_loop()
    finished = []
    for _ in range(connections):
        done = asyncio.Event()
        await loop.create_connection(lambda done=done: Caller(request, tally, done), host, int(port))  # type: ignore[misc]
        finished.append(done)
    for done in finished:
        await done.wait()
    spent = time.perf_counter() - began
    p50, p99 = (percentile(tally.times, share) * 1000 for share in (0.5, 0.99))
    return Result(len(tally.times), tally.failed, spent, p50, p99)


def tool() -> str:
    """What `elsewhere` measures with: wrk costs less CPU than we do, so it is preferred."""
    return "wrk" if shutil.which("wrk") else "bench.load"


async def elsewhere(address: str, name: str, seconds: float, connections: int) -> Result:
    """`run` in a process of its own, by wrk where it is installed."""
    if tool() == "wrk":
        whole = max(1, round(seconds))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--latency", "-H", f"Host: {name}"]
        return _read_wrk(await _output(*command, f"http://{address}/"), whole)
    command = [sys.executable, "-m", "bench.load", address, name, str(seconds), str(connections)]
    return Result(**json.loads(await _output(*command)))


async def _output(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    if child.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}")
    return out.decode()


def _read_wrk(text: str, seconds: float) -> Result:
    """wrk prints `50%   264.00us` and `  12345 requests in 2.00s`; what isn't 2xx or 3xx, and socket errors, apart."""
    latency = {share: float(value) * _MS[unit] for share, value, unit in _LATENCY.findall(text)}
    count = re.search(r"(\d+) requests in", text)
    assert count is not None, text
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(refused[1]) if refused else 0
    failed += sum(int(each) for each in broken.groups()) if broken else 0
    return Result(int(count[1]), failed, seconds, latency["50"], latency["99"])


def main() -> None:
    address, name, seconds, connections = sys.argv[1:]
    print(json.dumps(asdict(uvloop.run(run(address, name, float(seconds), int(connections))))))


if __name__ == "__main__":
    main()
