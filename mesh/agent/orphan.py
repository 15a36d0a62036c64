"""An Envoy, with its keeper, that an earlier supervisor has left behind: found, and kept as one of our own.

It is no child of ours, so that its exit code is not known.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from mesh.agent import keeper

GRACE_SECONDS = 60.0
"""For the next supervisor to come."""
UNKNOWN = -1
"""Its exit code."""


class Orphan:
    """As much of asyncio.subprocess.Process as is asked of an Envoy. `descriptor`: a pidfd."""

    def __init__(self, pid: int, epoch: int, descriptor: int) -> None:
        self.pid, self.epoch = pid, epoch
        self._descriptor = descriptor

    @property
    def returncode(self) -> int | None:
        return UNKNOWN if keeper.is_over(self._descriptor) else None

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        # Several may wait, and a loop has one reader for a descriptor.
        descriptor = os.dup(self._descriptor)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return UNKNOWN

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)


def kept(arguments: list[str], run_dir: Path) -> list[str]:
    """An Envoy's command, to be started with its keeper."""
    words = ["-I", "-S", keeper.__file__, str(run_dir), str(GRACE_SECONDS), str(os.getpid())]
    return [sys.executable, *words, *arguments]


def left(run_dir: Path) -> list[Orphan]:
    """The oldest generation first. Whoever asks holds the lock of the folder."""
    found = [_found(int(each.name), run_dir) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return sorted((each for each in found if each is not None), key=lambda each: each.epoch)


def _found(pid: int, run_dir: Path) -> Orphan | None:
    if _epoch(pid, run_dir) is None:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    # It may have ended, and another have its number, before there was a descriptor.
    epoch = _epoch(pid, run_dir)
    if epoch is None:
        os.close(descriptor)
        return None
    return Orphan(pid, epoch, descriptor)


def _epoch(pid: int, run_dir: Path) -> int | None:
    """None: it keeps no Envoy of this folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    keepers = [at for at, word in enumerate(words) if word.endswith("/mesh/agent/keeper.py")]
    if not keepers or words[keepers[0] + 1 : keepers[0] + 2] != [str(run_dir)]:
        return None
    epoch = words[words.index("--restart-epoch") + 1] if "--restart-epoch" in words[:-1] else "0"
    return int(epoch) if epoch.isdecimal() else 0


def made_of(arguments: list[str], run_dir: Path) -> str:
    """What an Envoy that is started now is: its binary, its arguments, its bootstrap. Raises OSError."""
    binary = Path(arguments[0]).stat()
    said = [*arguments, binary.st_ino, binary.st_size, binary.st_mtime_ns, (run_dir / "bootstrap.json").read_text()]
    return hashlib.blake2b(repr(said).encode(), digest_size=16).hexdigest()


def write_down(run_dir: Path) -> None:
    """That this process is the supervisor there. Raises OSError."""
    began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    fresh = run_dir / f"{keeper.SUPERVISOR}.new"
    fresh.write_text(f"{os.getpid()} {began}\n")
    fresh.replace(run_dir / keeper.SUPERVISOR)
