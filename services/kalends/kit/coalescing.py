"""Coalescing: concurrent callers share one trip. While one trip is under way the next callers gather for the one after it.

A newcomer would get wrong: the first caller leaves after one turn of the loop, in which others come along; a lone caller waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Reply = TypeVar("Reply")


class Coalescer(Generic[Question, Reply]):
    """Answers questions in shared trips of up to ``limit`` of them; ``trip`` maps questions to replies and may leave some out."""

    def __init__(self, trip: Callable[[Sequence[Question]], Awaitable[Mapping[Question, Reply]]], *, limit: int) -> None:
        self._trip = trip
        self._limit = limit
        self._waiting: list[tuple[Sequence[Question], asyncio.Future[Mapping[Question, Reply]]]] = []
        self._lock = asyncio.Lock()

    async def ask(self, questions: Sequence[Question]) -> Mapping[Question, Reply]:
        """The replies to (at least) *questions*; what ``trip`` raises reaches every caller of that trip."""
        future: asyncio.Future[Mapping[Question, Reply]] = asyncio.get_running_loop().create_future()
        self._waiting.append((questions, future))
        try:
            async with self._lock:
                await asyncio.sleep(0)
                while not future.done():
                    await self._travel()
            return future.result()
        finally:
            future.cancel()  # who has left needs no reply; after one this changes nothing

    async def _travel(self) -> None:
        """One trip for those who still wait; a leader who is cancelled leaves the others to the next one."""
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
        taken: list[tuple[Sequence[Question], asyncio.Future[Mapping[Question, Reply]]]] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0][0]) <= self._limit):
            taken.append(self._waiting.pop(0))
            count += len(taken[-1][0])
        try:
            replies = await self._trip([question for questions, _ in taken for question in questions])
        except asyncio.CancelledError:
            self._waiting[:0] = taken
            raise
        except Exception as error:  # noqa: BLE001 - handed to every caller of the trip, each of which raises it
            for future in _present(taken):
                future.set_exception(error)
            return
        for future in _present(taken):
            future.set_result(replies)


def _present(
    taken: Sequence[tuple[Sequence[Question], asyncio.Future[Mapping[Question, Reply]]]],
) -> list[asyncio.Future[Mapping[Question, Reply]]]:
    """Those who did not leave while the trip was under way."""
    return [future for _, future in taken if not future.done()]
