"""Summarizers: some passages to a title, a few claims and keywords.

A newcomer would get wrong: a summarizer may never add; each claim rests on evidence that is copied from its passages letter by letter.
"""

from typing import Protocol

from kalends.domain.calendar import Material, Summary


class Summarizer(Protocol):
    """Writes what a period was about."""

    @property
    def identity(self) -> str:
        """Which summarizer, which model and which rules in one token; a change of it makes every summary out of date."""
        ...

    async def summarize(self, material: Material, *, memory: str) -> Summary:
        """One to five claims about *material*, oldest first, none if no passage has text; *memory* is the scope's key, for budgets.

        Raises:
            Unavailable, DeadlineExceeded: a model that cannot be done without is away; the work stays queued.
        """
        ...
