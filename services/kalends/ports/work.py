"""Work: one service asks for a task by its name, and whichever process serves it does it.

A newcomer would get wrong: nothing is queued. A task is done now or not at all, and is asked for again when it is next due; so each one
must be safe to do twice, and what it deals with must be found in the log, not in the request.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """One run of a task. ``arguments`` are words and numbers, never content; ``deadline`` is in seconds of the running loop's clock."""

    task: str
    run_id: str
    arguments: Mapping[str, str]
    deadline: float


TaskHandler = Callable[[TaskCall], Awaitable[str]]
"""Does a task and says in a few words what it did, without content: ``3 segments, 5 nodes``. It is cancelled at the call's deadline, and a
``KalendsError`` that it raises reaches who asked, with its detail, which must hold no content either."""


class Work(Protocol):
    """Asking for tasks, and doing them."""

    async def ask(self, task: str, *, run_id: str, arguments: Mapping[str, str], timeout: float) -> str:  # noqa: ASYNC109 - it travels to who does it
        """Have *task* done within *timeout* seconds, and return the words of who did it.

        A *run_id* names one run: the same one asked for again joins the run that is under way, or is told how it ended.

        Raises:
            Unavailable: nobody serves the task, which is known at once, or who did it is gone; it may be asked for again.
            Occupied: another run of the task is under way there.
            DeadlineExceeded: it was not done in time, and was told to stop.
            KalendsError: the task's own failure.
        """
        ...

    async def serve(self, handlers: Mapping[str, TaskHandler]) -> None:
        """Do these tasks, one run of each at a time, until cancelled; then let runs under way end, for a while."""
        ...
