"""The system's clock."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Real time; see ``ports.clock.Clock``."""

    def now(self) -> datetime:
        """The current UTC moment."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; not at all for nothing or less."""
        await asyncio.sleep(max(0.0, seconds))
