"""One reader of the manual at a shell: runs commands in order in one folder, says how each ended and what it printed.

Like a reader, it runs `tieline agent` and `tieline control` in terminals of their own, or in the background with a log,
and goes on when they are ready; it goes on after any other `&` when the ports of that command are open. Fixed ports
become free ones in what is run, and back in what is printed.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scripts.ports import free_ports

PORTS = ("4140", "4180", "9990", "8001", "8002", "8003", "8080")
PATIENCE_SECONDS = 120.0
_MARK = "\x01"
_SERVES = re.compile(r"tieline (?:agent|control)(?: -c \S+)?(?: > (?P<log>\S+) 2>&1 &)?$")
_READY = re.compile(r"tieline\.(?:supervisor|control): ready")
_PORT = re.compile(rf"(?<=[:= ])({'|'.join(PORTS)})\b")


@dataclass(slots=True)
class Session:
    shell: subprocess.Popen[str]
    ports: dict[str, str]
    folder: Path
    served: int = 0

    def write(self, name: str, text: str) -> None:
        self._here(name).write_text(self._freed(text))

    def _here(self, name: str) -> Path:
        """Where the reader is now."""
        return Path(f"/proc/{self.shell.pid}/cwd", name)

    def run(self, line: str) -> tuple[int, list[str]]:
        """How it ended, and what it printed."""
        command = self._freed(line)
        if serves := _SERVES.match(command):
            return self._serve(command, serves["log"])
        ended = self._ask(command)
        if command.rstrip().endswith("&"):
            self._until_open([port for port in self.ports.values() if port in command])
        return ended

    def _freed(self, text: str) -> str:
        return _PORT.sub(lambda found: self.ports[found[1]], text)

    def _as_written(self, text: str) -> str:
        for written, free in self.ports.items():
            text = text.replace(free, written)
        return text

    def _ask(self, command: str) -> tuple[int, list[str]]:
        pipe: IO[str] | None = self.shell.stdin
        assert pipe is not None
        assert self.shell.stdout is not None
        pipe.write(f"{command}\nprintf '{_MARK}%d\\n' $?\n")
        pipe.flush()
        printed: list[str] = []
        for line in self.shell.stdout:
            before, mark, status = line.rstrip("\n").partition(_MARK)
            if before or not mark:
                printed.append(self._as_written(before))
            if mark:
                return int(status), printed
        raise TimeoutError(f"{command} has not ended, or ended the shell, after {printed}")

    def _serve(self, command: str, named: str | None) -> tuple[int, list[str]]:
        """`named`: the log, if the command itself goes to the background."""
        self.served += 1
        log = self._here(named) if named else self.folder / f"served-{self.served}.log"
        log.unlink(missing_ok=True)  # An earlier run's says `ready`, too.
        self._ask(command if named else f"{command} > {log} 2>&1 &")
        deadline = time.monotonic() + PATIENCE_SECONDS / 2
        while not _READY.search(text := log.read_text() if log.exists() else ""):
            if time.monotonic() > deadline or self._ask("jobs %% > /dev/null 2>&1")[0]:
                raise RuntimeError(f"{command} is not ready, or has ended:\n{text}")
            time.sleep(0.02)
        return 0, []

    def _until_open(self, ports: list[str]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS / 4
        for port in ports:
            while not _is_open(int(port)):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"nobody listens on {port}")
                time.sleep(0.02)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def session(place: Path) -> Iterator[Session]:
    """Ends what was started in it, by its process ids."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "TIELINE_"))}
    environment = {**kept, "PATH": search, "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        cwd=place,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        # A command that hangs ends the shell, and reading from it ends.
        guard = threading.Timer(PATIENCE_SECONDS, os.killpg, (shell.pid, signal.SIGKILL))
        guard.start()
        try:
            yield Session(shell, ports, place)
        finally:
            guard.cancel()
            _end(shell)


def _end(shell: subprocess.Popen[str]) -> None:
    """SIGTERM for every job, and a second one, at which an agent ends its drain. The shell ends when they have."""
    if shell.poll() is None and shell.stdin is not None:
        signal_all = "jobs -p | xargs --no-run-if-empty kill 2> /dev/null"
        shell.stdin.write(f"{signal_all}; sleep 0.1; {signal_all}; wait\nexit\n")
        shell.stdin.close()
    try:
        shell.wait(PATIENCE_SECONDS / 4)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        raise
