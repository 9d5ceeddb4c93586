"""The writer: the chat model's summary where there is one, else the extractive, and said so.

Belongs here: falling back, the breaker and the budget. Does not belong here: how either summarizer writes. A newcomer would get wrong: a
chat model that is away holds nothing up and loses nothing; only the embedder cannot be done without, and then the work stays queued.
"""

from collections.abc import Callable
from typing import Final

import structlog

from kalends.domain.calendar import Material, Summary
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.ports.clock import Clock
from kalends.ports.summarizer import Summarizer
from kalends.summarize.budget import Budget
from kalends.summarize.chat import ChatSummarizer, UnusableAnswer

log = structlog.get_logger(__name__)

PROBE_S: Final = 30.0
"""A chat model that was away is asked again after so long, once."""

CHAT_AWAY = "chat-unavailable"
CHAT_SLOW = "chat-timeout"
CHAT_UNUSABLE = "chat-unusable"
BUDGET_SPENT = "budget"

FellBack = Callable[[str], None]
Took = Callable[[str, float], None]


class Writer:
    """See ``ports.summarizer.Summarizer``.

    *fell_back* is told why another wrote than was wanted: one of the constants here, ``chat-unusable`` with the name of a check. *took* is
    told which summarizer, ``chat`` or ``extractive``, was busy for how many seconds.
    """

    def __init__(
        self,
        extractive: Summarizer,
        *,
        chat: ChatSummarizer | None,
        budget: Budget,
        clock: Clock,
        fell_back: FellBack,
        took: Took,
    ) -> None:
        self._extractive = extractive
        self._chat = chat
        self._budget = budget
        self._clock = clock
        self._fell_back = fell_back
        self._took = took
        self._away = ""
        self._probe_at = 0.0

    @property
    def identity(self) -> str:
        """The extractive summarizer's alone, or both."""
        return self._extractive.identity if self._chat is None else f"{self._chat.identity}+{self._extractive.identity}"

    @property
    def away(self) -> str:
        """Why the chat model is not asked now: ``CHAT_AWAY`` or ``CHAT_SLOW``; empty if it is, or if there is none."""
        return self._away

    async def summarize(self, material: Material, *, memory: str) -> Summary:
        """The chat model's summary, or the extractive one that says why it is there.

        Raises:
            Unavailable, DeadlineExceeded: the embedder is away, or what was spent of the budget cannot be read.
        """
        if self._chat is None or not any(passage.text.strip() for passage in material.passages):
            return await self._extracted(material, memory, degraded="")
        written = await self._written(self._chat, material, memory)
        if isinstance(written, Summary):
            return written
        self._fell_back(written)
        log.debug("summary without the chat model", reason=written)
        return await self._extracted(material, memory, degraded=written)

    async def _written(self, chat: ChatSummarizer, material: Material, memory: str) -> Summary | str:
        """The chat model's summary, or why there is none."""
        if not await self._budget.allows(memory):
            return BUDGET_SPENT
        if self._away and self._clock.monotonic() < self._probe_at:
            return self._away
        # whoever comes while the probe is under way does not wait for it
        self._probe_at = self._clock.monotonic() + PROBE_S
        started = self._clock.monotonic()

        async def spend(tokens: int) -> None:
            await self._budget.spend(memory, tokens)

        try:
            written = await chat.summarize(material, spend=spend)
        except Unavailable:
            return self._open(CHAT_AWAY)
        except DeadlineExceeded:
            return self._open(CHAT_SLOW)
        except UnusableAnswer as error:
            self._away = ""
            return f"{CHAT_UNUSABLE}: {error.check}"
        finally:
            self._took("chat", self._clock.monotonic() - started)
        self._away = ""
        return written

    def _open(self, reason: str) -> str:
        self._away = reason
        self._probe_at = self._clock.monotonic() + PROBE_S
        return reason

    async def _extracted(self, material: Material, memory: str, *, degraded: str) -> Summary:
        started = self._clock.monotonic()
        try:
            summary = await self._extractive.summarize(material, memory=memory)
        finally:
            self._took("extractive", self._clock.monotonic() - started)
        return Summary(title=summary.title, claims=summary.claims, keywords=summary.keywords, author=summary.author, degraded=degraded)
