"""How often AWS may be asked. In any span of `burst / rate` seconds at most `burst` calls begin.

AWS counts calls per account and region and refuses what is too much to whoever asks next: to the deployment, too. So
all sources of a process share one bucket, and when AWS says it is too much the pace is halved and grows back slowly.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from weakref import WeakValueDictionary

_MARGIN = 1.05
"""Calls arrive less evenly than they are sent."""
_SLOWEST = 1 / 32
"""Of the configured rate."""
_GROWTH = 1 / 20
"""Of the configured rate, with every call that was answered."""


class Bucket:
    """First come, first served. `rate`: calls per second; `burst`: how many of them may come at once."""

    def __init__(self, rate: float, burst: int | None = None) -> None:
        self.rate = rate
        self.burst = burst or max(1, math.floor(rate))
        self.pace = 1.0
        """The part of `rate` that AWS bears now."""
        self._turn = asyncio.Lock()
        self._taken: deque[float] = deque(maxlen=self.burst)
        self._slowed_at = -math.inf

    async def take(self) -> None:
        """Returns when one call may begin. Who is cancelled has taken nothing."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._wait(loop.time()))
            self._taken.append(loop.time())

    def slow_to(self, rate: float) -> None:
        self.rate = rate
        self.burst = min(self.burst, max(1, math.floor(rate)))
        self._taken = deque(self._taken, maxlen=self.burst)

    def answered(self) -> None:
        self.pace = min(1.0, self.pace + _GROWTH)

    def throttled(self) -> None:
        """AWS refused a call as one too many. Calls that were refused together count once."""
        now = asyncio.get_running_loop().time()
        if now - self._slowed_at >= self.burst / self.rate:
            self._slowed_at = now
            self.pace = max(_SLOWEST, self.pace / 2)

    def _wait(self, now: float) -> float:
        if not self._taken:
            return 0.0
        gap = _MARGIN / self.rate / self.pace
        # A burst is for who has been quiet: AWS that has just refused gets one call at a time.
        since = [self._taken[-1] + gap] if self.pace < 1.0 else []
        if len(self._taken) == self.burst:
            since.append(self._taken[0] + gap * self.burst)
        return max(since, default=now) - now


_buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()


def shared(key: str, rate: float) -> Bucket:
    """The process's bucket of that key, for as long as anybody holds it. The lowest rate asked for counts."""
    bucket = _buckets.get(key)
    if bucket is None:
        bucket = _buckets[key] = Bucket(rate)
    elif rate < bucket.rate:
        bucket.slow_to(rate)
    return bucket
