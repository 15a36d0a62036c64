"""A real etcd for tests, demo and benchmarks: `python -m scripts.etcd --fetch`.

An `etcd` on PATH is used as it is. Otherwise the package of this machine's own Debian is unpacked, not installed, into
`.cache/etcd`, by apt with a tree of its own, from the mirror this machine already uses, checked with Debian's keys.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from scripts.debian import Absent, unpack
from scripts.ports import free_ports

CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "etcd"


def find() -> pathlib.Path | None:
    """An etcd that can be run now. Downloads nothing."""
    on_path = shutil.which("etcd")
    if on_path:
        return pathlib.Path(on_path)
    unpacked = CACHE / "root" / "usr" / "bin" / "etcd"
    return unpacked if os.access(unpacked, os.X_OK) else None


def fetch() -> pathlib.Path:
    """`find()`, unpacking the package first if need be. Raises Absent."""
    found = find()
    if found is not None:
        return found
    unpack(["etcd-server"], CACHE)
    found = find()
    if found is None:
        raise Absent("Debian's package etcd-server holds no usr/bin/etcd")
    return found


@dataclass(slots=True)
class Member:
    """Of a cluster, on loopback, on disk."""

    folder: pathlib.Path
    url: str
    health: str
    """Without TLS, whatever the other has."""
    command: list[str]
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    async def start(self) -> None:
        """Does not wait for an answer."""
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdout=log, stderr=log)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def restart(self) -> None:
        """On the same ports, with all it has on disk. Returns when it answers."""
        await self.kill()
        await self.start()
        await self.answers()

    def stop(self) -> None:
        """It keeps its connections and answers nobody."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def answers(self) -> None:
        """Returns when the cluster has a leader and this member knows it."""
        assert self.process is not None
        patience = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=patience) as session, asyncio.timeout(20):
            while self.process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.health}/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.01)
        raise RuntimeError(f"etcd ended at once: {self._last_words()}")

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-500:]


@contextlib.asynccontextmanager
async def cluster(size: int = 1, *options: str, tls: bool = False) -> AsyncIterator[list[Member]]:
    """Raises Absent where `find()` is None. `options`: for each member. `tls`: their URLs are https."""
    binary = find()
    if binary is None:
        raise Absent("no etcd here: run `python -m scripts.etcd --fetch`")
    with tempfile.TemporaryDirectory(prefix="etcd-") as folder:
        members = _prepared(binary, pathlib.Path(folder), size, [*options], "https" if tls else "http")
        try:
            for member in members:
                await member.start()
            for member in members:
                await member.answers()
            yield members
        finally:
            for member in members:
                await asyncio.shield(member.kill())


def _prepared(binary: pathlib.Path, folder: pathlib.Path, size: int, options: list[str], scheme: str) -> list[Member]:
    ports = free_ports(3 * size)
    clients = [f"{scheme}://127.0.0.1:{port}" for port in ports[:size]]
    peers = [f"http://127.0.0.1:{port}" for port in ports[size : 2 * size]]
    healths = [f"http://127.0.0.1:{port}" for port in ports[2 * size :]]
    names = [f"m{number}" for number in range(size)]
    everyone = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
    members = []
    for name, client, peer, health in zip(names, clients, peers, healths, strict=True):
        place = folder / name
        place.mkdir()
        words = {
            "name": name,
            "data-dir": str(place / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "listen-metrics-urls": health,
            "initial-cluster": everyone,
            # On loopback a leader that is silent for this long is gone.
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "logger": "zap",
            "log-level": "warn",
        }
        command = [str(binary), *(word for key, value in words.items() for word in (f"--{key}", value)), *options]
        members.append(Member(place, client, health, command))
    return members


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.etcd", description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="unpack Debian's package where no etcd is on PATH")
    arguments = parser.parse_args()
    try:
        found = fetch() if arguments.fetch else find()
    except (Absent, OSError) as reason:
        sys.stdout.write(f"etcd: none ({reason}); what needs it is skipped\n")
        return
    sys.stdout.write(f"etcd: {found}\n" if found else "etcd: none; `--fetch` looks for one\n")


if __name__ == "__main__":
    main()
