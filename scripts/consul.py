"""A real Consul for tests, demo and benchmarks: `python -m scripts.consul --fetch`.

A `consul` on PATH is used as it is. Otherwise Debian bullseye's package is unpacked, not installed, into
`.cache/consul`, by apt with a tree of its own, from the mirror this machine already uses, checked with Debian's keys.
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

CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "consul"
_SUITE = "bullseye"


def find() -> pathlib.Path | None:
    """A Consul that can be run now. Downloads nothing."""
    on_path = shutil.which("consul")
    if on_path:
        return pathlib.Path(on_path)
    unpacked = CACHE / "root" / "usr" / "bin" / "consul"
    return unpacked if os.access(unpacked, os.X_OK) else None


def fetch() -> pathlib.Path:
    """`find()`, unpacking the package first if need be. Raises Absent."""
    found = find()
    if found is not None:
        return found
    unpack(["consul"], CACHE, suite=_SUITE)
    found = find()
    if found is None:
        raise Absent(f"the package of Debian {_SUITE} holds no usr/bin/consul")
    return found


@dataclass(slots=True)
class Agent:
    """One server, on loopback; in memory unless it is durable."""

    binary: pathlib.Path
    folder: pathlib.Path
    http_port: int
    command: list[str]
    token: str = field(default="", repr=False)
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdout=log, stderr=log)
        await self._leader()

    async def kill(self) -> None:
        """SIGKILL: an agent asked to stop politely keeps its port for seconds."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def stop(self) -> None:
        """It keeps its connections and answers nobody."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    async def restart(self) -> None:
        """On the same ports. With nothing remembered, unless it is durable: its index begins anew."""
        await self.kill()
        await self.start()

    async def _leader(self) -> None:
        """Returns when the catalogue can be read and written."""
        assert self.process is not None
        headers = {"X-Consul-Token": self.token} if self.token else None
        patience = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=patience, headers=headers) as session, asyncio.timeout(20):
            while self.process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/v1/health/service/consul?passing") as answer:
                        if answer.status == 200 and await answer.json():
                            return
                await asyncio.sleep(0.01)
        raise RuntimeError(f"consul ended at once: {self._last_words()}")

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return " / ".join(line.strip() for line in lines if "rror" in line or "==>" in line)[-500:]


@contextlib.asynccontextmanager
async def agent(
    *options: str, hcl: str = "", token: str = "", log_level: str = "warn", durable: bool = False
) -> AsyncIterator[Agent]:
    """Raises Absent where `find()` is None. `hcl`: beyond the development mode. `token`: may read, where ACLs deny.

    `durable`: no development mode; what it knows is on disk.
    """
    binary = find()
    if binary is None:
        raise Absent("no consul here: run `python -m scripts.consul --fetch`")
    with tempfile.TemporaryDirectory(prefix="consul-") as folder:
        mode = _durable(pathlib.Path(folder)) if durable else ["-dev"]
        running = _prepared(binary, pathlib.Path(folder), [*mode, *options, "-log-level", log_level], hcl)
        running.token = token
        try:
            await running.start()
            yield running
        finally:
            await asyncio.shield(running.kill())


def _durable(folder: pathlib.Path) -> list[str]:
    """Elections as quick as in development mode."""
    quick = "performance { raft_multiplier = 1 }"
    return ["-server", "-bootstrap-expect", "1", "-data-dir", str(folder / "data"), "-hcl", quick]


def _prepared(binary: pathlib.Path, folder: pathlib.Path, options: list[str], hcl: str) -> Agent:
    http, dns, server, lan, wan = free_ports(5)
    (folder / "agent.hcl").write_text(f"disable_update_check = true\n{hcl}\n")
    ports = ["-http-port", http, "-dns-port", dns, "-server-port", server, "-serf-lan-port", lan, "-serf-wan-port", wan]
    words = ["agent", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-grpc-port", "-1", *map(str, ports)]
    command = [str(binary), *words, "-config-file", str(folder / "agent.hcl"), *options]
    return Agent(binary=binary, folder=folder, http_port=http, command=command)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.consul", description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="unpack Debian's package where no consul is on PATH")
    arguments = parser.parse_args()
    try:
        found = fetch() if arguments.fetch else find()
    except (Absent, OSError) as reason:
        sys.stdout.write(f"consul: none ({reason}); what needs it is skipped\n")
        return
    sys.stdout.write(f"consul: {found}\n" if found else "consul: none; `--fetch` looks for one\n")


if __name__ == "__main__":
    main()
