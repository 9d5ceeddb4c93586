"""Time, so that tests need not wait for it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Now, as an aware UTC moment, and as seconds that only grow."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...
