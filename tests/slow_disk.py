"""A folder on a disk that is slow or stuck, for the processes that are started meanwhile: real files, real calls, late.

`slow_disk.c` is compiled by this machine's C compiler and preloaded; where there is none the test is skipped.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.manual import ROOT

SOURCE = ROOT / "tests" / "slow_disk.c"
STUCK = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Disk:
    _state: mmap.mmap

    def takes(self, seconds: float) -> None:
        """For each operation."""
        self._say(round(seconds * 1000))

    def sticks(self) -> None:
        """No operation comes to an end until it is well."""
        self._say(STUCK)

    def is_well(self) -> None:
        self._say(0)

    @property
    def waiting(self) -> int:
        """How many operations wait for it now."""
        (count,) = struct.unpack_from("=I", self._state, 4)
        return int(count)

    def _say(self, milliseconds: int) -> None:
        self._state[:4] = struct.pack("=I", milliseconds)


@contextmanager
def slow_disk(folder: Path, beside: Path) -> Iterator[Disk]:
    """`folder` is on it. `beside`: a folder that is not."""
    shared = beside / "slow_disk.state"
    shared.write_bytes(bytes(8))
    told = {"LD_PRELOAD": str(_built(beside)), "SLOW_DISK_STATE": str(shared), "SLOW_DISK_FOLDER": str(folder)}
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), 8) as state, pytest.MonkeyPatch.context() as patch:
        for key, value in told.items():
            patch.setenv(key, value)
        disk = Disk(state)
        try:
            yield disk
        finally:
            disk.is_well()


def _built(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here that could make a disk slow")
    library = folder / "slow_disk.so"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl"], check=True)
    return library
