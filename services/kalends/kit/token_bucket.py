"""Token buckets: so much a second on average, and a burst above it.

Belongs here: the arithmetic, and keeping a bounded number of buckets. Does not belong here: what is counted. A newcomer would get wrong:
time is given and never read here, in seconds of a clock that only goes forward; and what is paid after the fact may leave a debt, which
the next ones wait for.
"""

from collections import OrderedDict
from collections.abc import Hashable


class TokenBucket:
    """Holds up to *burst* units and gains *rate* of them a second; full at first."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def wait(self, amount: float, *, now: float) -> float:
        """Seconds until *amount* can be taken; 0 if now. More than the burst counts as the burst, or it could never be had."""
        missing = min(amount, self._burst) - self._filled(now)
        return max(0.0, missing / self._rate)

    def pay(self, amount: float, *, now: float) -> None:
        """Take *amount*, whether it is there or not."""
        self._level = self._filled(now) - amount

    def _filled(self, now: float) -> float:
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level


class Buckets:
    """A bucket for each key, *rate* and *burst* alike for all; of at most *most* keys, the ones used last.

    A key that was forgotten begins with a full bucket again, so *most* should be well above how many are in use at once.
    """

    def __init__(self, *, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._known: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: Hashable, *, now: float) -> TokenBucket:
        """The bucket of *key*."""
        bucket = self._known.get(key)
        if bucket is None:
            bucket = self._known[key] = TokenBucket(rate=self._rate, burst=self._burst, now=now)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return bucket
