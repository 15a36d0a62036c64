"""Envoy's parent: a small process between the supervisor and Envoy, which imports no more than it needs.

Envoy ends with its parent (hot_restart_impl.cc asks the kernel for that, prctl(2), PR_SET_PDEATHSIG), so the supervisor
can't be it if Envoy is to outlive the supervisor. This is told to end by SIGTERM, and ends as Envoy does, by exit code
or signal. When the supervisor has gone otherwise, the next one in the same folder is waited for; if none comes, or what
is there is of no use to it, Envoy is ended.

    keeper.py RUN_DIR GRACE_SECONDS SUPERVISOR_PID ENVOY ARGUMENT...
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.25
END_SECONDS = 1.5
"""For Envoy, after SIGTERM. Shorter than who waits for us has patience."""
SUPERVISOR = "agent.pid"
"""The process id of the supervisor and when it was started, so that another's is another text."""
MADE_OF = "envoy.made-of"
"""What the newest Envoy was started with. Not there: it is draining, or there is none."""


def is_over(descriptor: int, seconds: float = 0.0) -> bool:
    """Of a pidfd. Waits so long for it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Keeper:
    def __init__(self, run_dir: Path, grace: float, supervisor: int, arguments: list[str]) -> None:
        self._run_dir, self._grace = run_dir, grace
        self._known = self._said()
        self._supervisor = _parent(supervisor)
        # Python ignores these, and what it starts would, too.
        default = (signal.SIGPIPE, signal.SIGXFSZ)
        self._child = os.posix_spawn(arguments[0], arguments, os.environ, setsigdef=default)
        self._envoy = os.pidfd_open(self._child)

    def keep(self) -> int:
        """Until Envoy has ended. Its exit code; negative: the signal that ended it."""
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGALRM, lambda *_: self._send(signal.SIGKILL))
        while self._is_needed():
            pass
        self._end()
        _, status = os.waitpid(self._child, 0)
        return os.waitstatus_to_exitcode(status)

    def _is_needed(self) -> bool:
        """Returns when the supervisor or Envoy has ended: whether there is another supervisor, and an Envoy."""
        poll = select.poll()
        for each in (self._supervisor, self._envoy):
            if each is not None:
                poll.register(each, select.POLLIN)
        poll.poll(0 if self._supervisor is None else None)
        until = time.monotonic() + self._grace
        while not is_over(self._envoy, LOOK_SECONDS):
            if self._is_taken_over():
                return True
            if time.monotonic() > until or not (self._run_dir / MADE_OF).exists():
                return False
        return False

    def _is_taken_over(self) -> bool:
        said = self._said()
        if said in ("", self._known):
            return False
        try:
            next_one = os.pidfd_open(int(said.split()[0]))
        except (OSError, ValueError):
            return False
        if self._supervisor is not None:
            os.close(self._supervisor)
        self._supervisor, self._known = next_one, said
        return True

    def _said(self) -> str:
        try:
            return (self._run_dir / SUPERVISOR).read_text()
        except OSError:
            return ""

    def _end(self) -> None:
        self._send(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, END_SECONDS)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._envoy, number)


def _parent(pid: int) -> int | None:
    """None: it has ended already."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if os.getppid() == pid:
        return descriptor
    os.close(descriptor)
    return None


def main() -> None:
    code = Keeper(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]).keep()
    if code < 0:
        # Envoy has left its core, if there is to be one.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
