"""Facts about this host that name its proxy."""

from __future__ import annotations

from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Changes with every boot (random(4)); empty where the kernel doesn't say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def node_id(hostname: str) -> str:
    """Names this host's proxy in status and logs: the same over restarts of the agent, another after a reboot."""
    return f"{hostname}/{boot_id()[:8]}" if boot_id() else hostname
