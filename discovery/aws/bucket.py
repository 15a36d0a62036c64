"""How often AWS may be asked. In any span of `burst / rate` seconds at most `burst` calls arrive there.

AWS counts calls per account and region and refuses what is too much to whoever asks next: to the deployment, too. So
all sources of a process share one bucket, and when AWS says it is too much the pace is lowered and grows back slowly.

A call may take its time to arrive, and the next ones less. So a span is counted from when the call was over.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from weakref import WeakValueDictionary

_MARGIN = 1.01
_LATEST_SECONDS = 0.5
"""A call that is not over yet has arrived by then."""
_SLOWEST = 1 / 32
"""Of the configured rate."""
_LOWERED = 0.7
_GROWTH = 1 / 40
"""Of the configured rate, with every call that was answered."""


class Turn:
    """One call. Whoever has taken it says when it is `over`, however it ended."""

    __slots__ = ("_began", "_over")

    def __init__(self, began: float) -> None:
        self._began = began
        self._over = math.inf

    def over(self) -> None:
        self._over = asyncio.get_running_loop().time()

    def arrived(self, now: float) -> float:
        return min(self._over, self._began + _LATEST_SECONDS, now)


class Bucket:
    """First come, first served. `rate`: calls per second; `burst`: how many of them may come at once."""

    def __init__(self, rate: float, burst: int | None = None) -> None:
        self.rate = rate
        self.burst = burst or max(1, math.floor(rate))
        self.pace = 1.0
        """The part of `rate` that AWS bears now."""
        self._next = asyncio.Lock()
        self._turns: deque[Turn] = deque(maxlen=self.burst)
        self._slowed_at = -math.inf

    async def take(self) -> Turn:
        """Returns when one call may begin. Who is cancelled has taken nothing."""
        async with self._next:
            loop = asyncio.get_running_loop()
            while True:
                wait = self._wait(loop.time())
                if wait <= 0:
                    break
                await asyncio.sleep(wait)
            turn = Turn(loop.time())
            self._turns.append(turn)
            return turn

    def slow_to(self, rate: float) -> None:
        self.rate = rate
        self.burst = min(self.burst, max(1, math.floor(rate)))
        self._turns = deque(self._turns, maxlen=self.burst)

    def answered(self) -> None:
        self.pace = min(1.0, self.pace + _GROWTH)

    def throttled(self) -> None:
        """AWS refused a call as one too many. Calls that were refused together count once."""
        now = asyncio.get_running_loop().time()
        if now - self._slowed_at >= self.burst / self.rate:
            self._slowed_at = now
            self.pace = max(_SLOWEST, self.pace * _LOWERED)

    def _wait(self, now: float) -> float:
        if not self._turns:
            return 0.0
        gap = _MARGIN / self.rate / self.pace
        # A burst is for who has been quiet: AWS that has just refused gets one call at a time.
        free = [self._turns[-1].arrived(now) + gap] if self.pace < 1.0 else []
        if len(self._turns) == self.burst:
            free.append(self._turns[0].arrived(now) + gap * self.burst)
        wait = max(free, default=now) - now
        return wait if wait > gap / 1000 else 0.0  # a timer may fire a little early


_buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()


def shared(key: str, rate: float) -> Bucket:
    """The process's bucket of that key, for as long as anybody holds it. The lowest rate asked for counts."""
    bucket = _buckets.get(key)
    if bucket is None:
        bucket = _buckets[key] = Bucket(rate)
    elif rate < bucket.rate:
        bucket.slow_to(rate)
    return bucket
