"""Time, so that tests need not wait for it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Now, as an aware UTC moment, and as seconds that only grow; and waiting."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None:
        """Return once ``monotonic`` has grown by *seconds*."""
        ...
