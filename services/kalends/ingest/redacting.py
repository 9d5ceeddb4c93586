"""Keeping things out: events and documents are cleaned before anything else sees them.

Belongs here: applying a memory's policy. Does not belong here: finding (the port ``redactor``), or what a mask is (``domain.redaction``).
A newcomer would get wrong: this happens before digests, sealing and the comparison with what is known, so nothing that is stored or
compared ever depended on what was masked; and labels of kinds are all that is counted or logged.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kalends.domain.events import Event
from kalends.domain.redaction import Cleaning, Policy
from kalends.ports.redactor import Redactor

_AT_ONCE = 32 * 1024
"""Characters that are looked at between two turns of the event loop; more go to a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """An event after cleaning, and the labels of what was ``masked`` in it and of what its memory does not take at all."""

    event: Event
    masked: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class Redact:
    """Cleans what is about to be stored."""

    def __init__(self, redactor: Redactor, *, observe: Callable[[str], None] = lambda _label: None) -> None:
        """*observe* is told the label of what was masked, once for each thing and label."""
        self._redactor = redactor
        self._observe = observe

    async def events(self, policy: Policy, events: Sequence[Event]) -> Sequence[Cleaned]:
        """*events* by *policy*, in order. Chunks of documents were cleaned with their document and stay as they are."""

        def work() -> list[Cleaned]:
            return [self._event(policy, event) for event in events]

        size = sum(len(event.text) for event in events)
        cleaned = work() if size <= _AT_ONCE else await asyncio.to_thread(work)
        for one in cleaned:
            self._tell(one.masked)
        return cleaned

    async def texts(self, policy: Policy, kind: str, work: Callable[[Cleaning], None], *, size: int) -> Cleaning:
        """Let *work* clean the texts of one thing, *size* characters in all, that is stored as *kind*; what was found then."""
        cleaning = Cleaning(self._redactor.find, policy.of_kind(kind))
        if size <= _AT_ONCE:
            work(cleaning)
        else:
            await asyncio.to_thread(work, cleaning)
        if not cleaning.refused:
            self._tell(cleaning.masked)
        return cleaning

    def _event(self, policy: Policy, event: Event) -> Cleaned:
        if event.document_id is not None:
            return Cleaned(event=event)
        cleaning = Cleaning(self._redactor.find, policy.of_kind(event.facets.kind))
        clean = cleaning.event(event)
        return Cleaned(event=clean, masked=cleaning.masked, refused=cleaning.refused)

    def _tell(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._observe(label)
