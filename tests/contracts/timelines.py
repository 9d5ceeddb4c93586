"""The timeline that the suites of its port are about.

Belongs here: opening one, and opening it again as after a restart. Does not belong here: a test. A newcomer would get wrong: opening it
again closes the one that was open, so a test must go on with what it gets.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from kalends.adapters.embedded.timeline import SqliteTimeline

Reopen = Callable[[], Awaitable[SqliteTimeline]]


@asynccontextmanager
async def reopening(folder: Path) -> AsyncIterator[Reopen]:
    """What opens the timeline in *folder* anew; it is closed in the end."""
    opened: list[SqliteTimeline] = []

    async def again() -> SqliteTimeline:
        if opened:
            await opened.pop().close()
        opened.append(await SqliteTimeline.open(folder / "timeline.db"))
        return opened[0]

    yield again
    for timeline in opened:
        await timeline.close()
