"""What a process costs: CPU time and memory, read from /proc (proc(5))."""

from __future__ import annotations

from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Time on a CPU of all threads: the first figure of schedstat, in ns; finer than the 10 ms ticks of stat."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def rss_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def percentile(values: list[float], share: float) -> float:
    """Of sorted or unsorted values; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
