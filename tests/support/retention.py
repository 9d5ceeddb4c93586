"""Retention over real engines: what asks for erasures, and what does them when a test says so.

Belongs here: wiring both on a test's own ledger. Does not belong here: what is tested. A newcomer would get wrong: nothing is erased until
``erase`` is called, so that a test can see what was asked for; and the clock of retention stands still at noon until it is moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kalends.domain.erasures import Erasure, Hold, Selector
from kalends.domain.scope import Scope
from kalends.index.erasing import Erase, Stores
from kalends.ingest.ending import EndSession
from kalends.ingest.erasing import RequestErasures
from kalends.ingest.retaining import Retain
from kalends.kit import signatures
from kalends.kit.traffic import Traffic
from kalends.settings import ErasureSettings
from kalends.settings.retention import RetentionSettings
from kalends.wire.erasures import ErasureStore
from kalends.wire.hidden import HiddenView
from kalends.wire.holding import Holds
from kalends.wire.selecting import Select
from tests.support.engines import NOON, SCOPE, Engines, Ledger


class Noon:
    """A clock that stands still, at noon or later."""

    def __init__(self) -> None:
        self.later = timedelta(0)

    def now(self) -> datetime:
        return NOON + self.later

    def monotonic(self) -> float:
        return self.later.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """No time at all."""


@dataclass(kw_only=True)
class Keeping:
    """Retention as it is wired in a process, on *books*."""

    books: Ledger
    clock: Noon
    store: ErasureStore
    hidden: HiddenView
    holds: Holds
    asking: RequestErasures
    select: Select

    def retain(self, *, source: Any = None, **settings: Any) -> Retain:
        """The task with such *settings*."""
        return Retain(
            erasures=self.asking,
            holds=self.holds,
            hidden=self.hidden,
            timeline=self.books.timeline,
            documents=self.books.documents,
            memories=self.books.memories,
            source=source or self.books.log,
            progress=self.books.progress,
            clock=self.clock,
            traffic=Traffic(),
            settings=RetentionSettings(**settings),
        )

    @property
    def end(self) -> EndSession:
        """What ends sessions."""
        return EndSession(
            erasures=self.asking, hidden=self.hidden, memories=self.books.memories, keys=self.books.bus.keys, clock=self.clock
        )

    async def keep(self, scope: Scope = SCOPE, **settings: Any) -> None:
        """Set what a memory keeps."""
        await self.books.memories.change(scope, **settings)

    async def hold(self, name: str, selector: Selector, scope: Scope = SCOPE) -> None:
        """Keep something from being erased."""
        await self.asking.hold(Hold(name=name, scope=scope, selector=selector, set_by="a test", set_us=1))

    async def asked(self) -> Sequence[Erasure]:
        """The erasures that are asked for and not done, in the order of their ids, which says nothing where the clock stands still."""
        return await self.store.active()

    async def asked_ids(self) -> set[str]:
        """The ids of events that they name."""
        return {event_id for one in await self.asked() if one.selector for event_id in one.selector.event_ids}

    def eraser(self, made: Engines) -> Erase:
        """What does an erasure; nobody writes the calendar anew."""
        books = self.books
        stores = Stores(
            log=books.bus.log,
            timeline=books.timeline,
            calendar=books.calendar,
            lexicon=made.lexicon,
            vectors=made.vectors,
            keys=books.bus.keys,
            documents=books.documents,
            canaries=books.canaries,
            memories=books.memories,
            ledger=books.bus.ledger,
        )
        nobody: Any = None
        return Erase(
            stores=stores,
            records=self.store,
            hidden=self.hidden,
            select=self.select,
            holds=self.holds,
            reader=books.reader,
            progress=books.progress,
            work=nobody,
            signer=signatures.Signer(b"s" * 32),
            clock=self.clock,
            settings=ErasureSettings(calendar_wait_s=0),
            replicas=1,
        )

    async def erase(self, made: Engines) -> Sequence[Erasure]:
        """Do everything that is asked for."""
        asked = await self.asked()
        for one in asked:
            await self.eraser(made)(one)
        return [found for one in asked if (found := await self.store.find(one.scope, one.erasure_id))]


def keeping(books: Ledger) -> Keeping:
    """Retention on *books*."""
    clock = Noon()
    store = ErasureStore(records=books.bus.records, keys=books.bus.keys, vault=books.vault)
    hidden = HiddenView(store=store, clock=clock, fresh_s=3.0, changed=books.reader.forget)
    select = Select(timeline=books.timeline, source=books.bus.log, reader=books.reader)
    holds = Holds(store=store, select=select)
    asking = RequestErasures(
        store=store, hidden=hidden, select=select, holds=holds, memories=books.memories, ledger=books.bus.ledger, clock=clock
    )
    return Keeping(books=books, clock=clock, store=store, hidden=hidden, holds=holds, asking=asking, select=select)
