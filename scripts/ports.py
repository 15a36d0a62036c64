"""Ports for what tests, demo and benchmarks start: nobody else gets them, though they are bound only later."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections import deque

RANGE = range(10_000, 32_000)
"""Below what the kernel gives to outgoing connections, so that they stay free."""
MOST_CLAIMED = 500
_claimed: deque[int] = deque()
"""Descriptors of sockets whose names say to the other processes which ports are ours. The oldest are in use by now."""


def free_port() -> int:
    """Free for TCP and UDP."""
    while True:
        port = random.choice(RANGE)  # noqa: S311 - not a secret
        if _is_free(port) and _claim(port):
            return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def claims() -> int:
    """How many files that takes."""
    return len(_claimed)


def _claim(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0tieline-port-{port}")  # In the kernel alone, and gone with this process (unix(7), abstract).
    except OSError:
        claim.close()
        return False
    _claimed.append(claim.detach())
    if len(_claimed) > MOST_CLAIMED:
        os.close(_claimed.popleft())
    return True


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
