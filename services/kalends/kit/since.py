"""Since when something is so: as a moment for people, and on a clock that nobody sets.

A newcomer would get wrong: how long something lasts is never the difference of two moments, for the wall clock may be put forward and back
meanwhile.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Since:
    """``moment``, in UTC, and the same on the monotonic clock, in seconds."""

    moment: datetime
    monotonic: float

    @classmethod
    def now(cls) -> "Since":
        """Since this moment."""
        return cls(datetime.now(UTC), time.monotonic())

    def seconds_at(self, monotonic: float) -> float:
        """How many seconds it lasts at *monotonic*; never less than none."""
        return max(0.0, monotonic - self.monotonic)
