"""What people and agents say of answers.

Belongs here: taking it and counting it. Does not belong here: keeping it; no ranking learns from it, and nothing of it can be traced to a
question or to whoever asked. A newcomer would get wrong: ``missing`` is about what was not found, so it names no event.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kalends.domain.errors import Invalid
from kalends.domain.events import canonical_id
from kalends.edge.operations import Answer, Call, Operation
from kalends.search.reading import ReadMemories
from kalends.wire.memories import MemoryRegistry

Verdict = Literal["useful", "useless", "wrong", "missing"]
Count = Callable[[Verdict, int | None], None]


class FeedbackRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an answer was. ``event_id`` is the hit that it is about, if it is about one; ``satisfaction`` is from 1 to 5."""

    verdict: Verdict
    event_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    satisfaction: Annotated[int, Meta(ge=1, le=5)] | None = None


class FeedbackAnswer(Struct, frozen=True, kw_only=True):
    """It was counted."""

    verdict: Verdict


class FeedbackRoutes:
    """``/memories/{memory}/feedback``."""

    def __init__(self, *, read: ReadMemories, memories: MemoryRegistry, count: Count) -> None:
        self._read = read
        self._memories = memories
        self._count = count

    async def give(self, call: Call) -> Answer:
        """Count what somebody says of an answer of the memory."""
        body: FeedbackRequest = call.body
        if body.verdict == "missing" and body.event_id is not None:
            raise Invalid("what was missing is no hit: leave event_id out")
        await self._memories.find(call.scoped)
        if body.event_id is not None:
            event_id = canonical_id(body.event_id)
            await self._read.event(call.scoped, event_id, before=0, after=0, clearance=call.principal.clearance)
        self._count(body.verdict, body.satisfaction)
        return Answer(body=FeedbackAnswer(verdict=body.verdict))


def operations(feedback: FeedbackRoutes) -> list[Operation]:
    """The row; who may search may say how it was."""
    return [
        Operation(
            name="feedback.give",
            method="POST",
            path="/memories/{memory}/feedback",
            right="search",
            summary="Say how an answer was",
            handle=feedback.give,
            answer=FeedbackAnswer,
            status=202,
            body=FeedbackRequest,
            subject="feedback.give",
        )
    ]
