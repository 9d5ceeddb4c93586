"""The projections' consumers: fetch, open, write, acknowledge.

Belongs here: the loop of one projection, its circuit breaker and what becomes of a message that cannot be written. Not here: how an engine
writes (``adapters``). A newcomer would get wrong: what a store does not take is kept here and tried again, and nothing more is fetched
meanwhile. Handing it back would count as a delivery, and a message that has been delivered too often becomes a dead letter; a probe that
succeeds does not say that a write will.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Protocol

import structlog

from kalends.domain.errors import Conflict, DeadlineExceeded, Invalid, KalendsError, TooLarge, Unavailable
from kalends.domain.queries import Entry, Tombstone
from kalends.edge import tracing
from kalends.kit import failpoints, tasks
from kalends.kit.backoff import pauses
from kalends.kit.since import Since
from kalends.kit.traffic import Traffic, patience
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.log import Consumer, Delivery
from kalends.ports.models import Embedder
from kalends.ports.vectors import VectorEntry, VectorIndex
from kalends.settings import IndexSettings
from kalends.wire.reader import Opened, Readable, Reader, Unreadable

log = structlog.get_logger(__name__)

_HAND_BACK_S = 2.0
_LONG_S = 60.0
"""After so long without a store, what is in hand is given to whoever may still reach it."""

_FEW = 4
"""But not what has been delivered more often: the broker gives up what it has delivered eight times, and the last tries are for crashes."""

_REFUSALS = (Invalid, TooLarge)
"""What a store says of a message itself. Anything else is about the store, and no message is given up for it."""

_PIECE = 32
"""Events that are embedded together while those before them are written."""

_GIVE_WAY_S = 2.0
_NO_WAY_S = 30.0
"""A projection whose oldest message is so old gives way to writers no more."""


class Sink(Protocol):
    """Where a projection's entries go."""

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        """Write; durable on return."""
        ...

    async def probe(self) -> None:
        """Raise what ``put`` would raise if the store or a model is away."""
        ...


class LexicalSink:
    """Entries to BM25."""

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        """Write; durable on return."""
        await self._index.put(entries, tombstones)

    async def probe(self) -> None:
        """An empty write."""
        await self._index.put([], [])


class VectorSink:
    """Entries to vectors, through the model."""

    def __init__(self, index: VectorIndex, embedder: Embedder) -> None:
        self._index = index
        self._embedder = embedder

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        """Embed and write; while one piece is written the next is embedded. Durable on return."""
        pieces = [entries[start : start + _PIECE] for start in range(0, len(entries), _PIECE)]
        embedded: asyncio.Queue[Sequence[VectorEntry]] = asyncio.Queue(maxsize=1)
        async with tasks.group() as group:
            group.create_task(self._embed_into(embedded, pieces), name="index.vector.embed")
            for _ in pieces:
                await self._index.put(await embedded.get(), [])
        if tombstones:
            await self._index.put([], tombstones)

    async def _embed_into(self, embedded: "asyncio.Queue[Sequence[VectorEntry]]", pieces: Sequence[Sequence[Entry]]) -> None:
        for piece in pieces:
            windows = await self._embedder.embed([entry.embedded for entry in piece])
            await failpoints.reach("index.vector.after-embed")
            await embedded.put([VectorEntry(entry=entry, windows=found) for entry, found in zip(piece, windows, strict=True)])

    async def probe(self) -> None:
        """An empty write and one embedding."""
        await self._index.put([], [])
        await self._embedder.embed(["probe"])  # not a question: an answer that is remembered proves nothing


async def _retry(delivery: Delivery) -> None:
    with suppress(Conflict):  # it was settled before the rest of its batch was given up
        await delivery.retry(after=0.0)


def _halves(deliveries: Sequence[Delivery]) -> list[Sequence[Delivery]]:
    middle = len(deliveries) // 2
    return [half for half in (deliveries[:middle], deliveries[middle:]) if half]


class Projector:
    """One projection's loop over one durable consumer."""

    def __init__(
        self,
        *,
        projection: str,
        consumer: Consumer,
        sink: Sink,
        reader: Reader,
        batch: int,
        settings: IndexSettings,
        moved: Callable[[], None],
        traffic: Traffic,
        indexed: Callable[[Sequence[Readable]], Awaitable[None]] | None = None,
        rate: float = 0.0,
    ) -> None:
        """*rate* is the most events a second that are written; 0 for any."""
        self._rate = rate
        self._projection = projection
        self._consumer = consumer
        self._sink = sink
        self._reader = reader
        self._batch = batch
        self._settings = settings
        self._moved = moved
        self._traffic = traffic
        self._indexed = indexed
        self.failure: KalendsError | None = None
        self.failing_since: Since | None = None
        self.written = 0
        self._not_before = 0.0
        self._in_hand: list[Sequence[Delivery]] = []
        """Fetched by the pump that runs, and not dealt with."""
        self._unused: deque[Sequence[Delivery]] = deque()
        """Fetched, not written, and not handed back."""
        self._pauses = self._new_pauses()

    async def run(self) -> None:
        """Fetch and write until cancelled; while one batch is written the next is fetched."""
        async with tasks.group() as group:
            group.create_task(self._consumer.keep(self._deliveries_in_hand), name=f"index.{self._projection}.keep")
            try:
                while True:
                    try:
                        await self._pump()
                    except (Unavailable, DeadlineExceeded) as error:
                        await self._until_back(error)
            finally:
                await self._return_unused()

    async def _pump(self) -> None:
        # before anything more is fetched: what a store does not take must not pile up here
        while self._unused:
            await self._work_off(self._unused.popleft())
        fetched: asyncio.Queue[Sequence[Delivery] | KalendsError] = asyncio.Queue(maxsize=1)
        try:
            async with tasks.group() as group:
                group.create_task(self._fetch_into(fetched), name=f"index.{self._projection}.fetch")
                while True:
                    deliveries = await fetched.get()
                    if isinstance(deliveries, KalendsError):
                        raise deliveries
                    await self._work_off(deliveries)
        finally:
            while not fetched.empty():
                left = fetched.get_nowait()
                if not isinstance(left, KalendsError):
                    self._unused.append(left)
            self._in_hand.clear()

    async def _work_off(self, deliveries: Sequence[Delivery]) -> None:
        """Write *deliveries*; what the store does not take now is kept in halves, for less may be what it takes in time."""
        began = time.monotonic()
        if deliveries not in self._in_hand:
            self._in_hand.append(deliveries)
        try:
            oldest_s = time.time() - deliveries[0].message.recorded_us / 1e6
            await self._traffic.give_way(at_most=patience(oldest_s, longest=_GIVE_WAY_S, gone_after=_NO_WAY_S))
            await failpoints.reach(f"index.{self._projection}.after-fetch")
            began = time.monotonic()
            await self._deal_with(deliveries)
        except asyncio.CancelledError:
            # who is told to end gives back what it had begun too, or it would come again only after the ack wait
            self._unused.appendleft(deliveries)
            raise
        except (Unavailable, DeadlineExceeded):
            # at the end: if it is about one of them, the others need not wait for it
            self._unused.extend(_halves([delivery for delivery in deliveries if not delivery.settled]))
            raise
        finally:
            self._in_hand.remove(deliveries)
        self._mended()
        if self._rate:
            await asyncio.sleep(max(0.0, began + len(deliveries) / self._rate - time.monotonic()))

    async def _fetch_into(self, fetched: "asyncio.Queue[Sequence[Delivery] | KalendsError]") -> None:
        """Fetch until it fails; the failure stands in the queue too, so that what was fetched before it is not cut off in the middle."""
        while True:
            try:
                deliveries = await self._fetch()
            except KalendsError as error:
                await fetched.put(error)
                return
            try:
                if deliveries:
                    self._in_hand.append(deliveries)
                    await fetched.put(deliveries)
            except asyncio.CancelledError:
                self._unused.append(deliveries)
                raise

    def _deliveries_in_hand(self) -> Iterator[Delivery]:
        return chain.from_iterable((*self._in_hand, *self._unused))

    async def _fetch(self) -> Sequence[Delivery]:
        """The next batch; not sooner than ``linger_s`` after the last, unless that was full and more is surely waiting.

        Each write costs several syncs of the disk that the log's own syncs wait for, so a trickle is gathered.
        """
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._not_before - now))
        deliveries = await self._consumer.fetch(limit=self._batch, wait=self._settings.fetch_wait_s)
        full = len(deliveries) >= self._batch
        self._not_before = 0.0 if full else asyncio.get_running_loop().time() + self._settings.linger_s
        return deliveries

    async def _return_unused(self) -> None:
        """Hand back everything that was fetched and not begun, and what was on its way to be fetched."""
        try:
            async with asyncio.timeout(self._settings.fetch_wait_s + _HAND_BACK_S):
                await self._consumer.pause()
        except (TimeoutError, KalendsError) as error:
            self._say_late(error)
        unused = [delivery for deliveries in self._unused for delivery in deliveries]
        self._unused.clear()
        if unused:
            await self._hand_back(unused)

    async def _hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have them delivered again, to whoever fetches; a broker that does not answer takes nothing, so they are kept until it does.

        What is neither kept nor handed back comes again only after the ack wait, and the projection is behind all that while.
        """
        try:
            async with asyncio.timeout(_HAND_BACK_S):
                await self._consumer.states()
        except (TimeoutError, KalendsError):
            self._unused.append(deliveries)
            return
        try:
            async with asyncio.timeout(_HAND_BACK_S), tasks.group() as group:
                # all at once: one after another a full batch would take longer than there is time
                for delivery in deliveries:
                    group.create_task(_retry(delivery), name=f"index.{self._projection}.hand-back")
        except* (TimeoutError, KalendsError) as errors:
            self._say_late(errors.exceptions[0])

    def _say_late(self, error: Exception) -> None:
        log.info("deliveries come again after the ack wait", projection=self._projection, reason=type(error).__name__)

    async def _deal_with(self, deliveries: Sequence[Delivery]) -> None:
        good: list[tuple[Delivery, Readable]] = []
        links = tracing.linked(delivery.message.headers for delivery in deliveries)
        with tracing.span(f"index.{self._projection}", links=links, kind="consumer"):
            for delivery, opened in zip(deliveries, await self._opened(deliveries), strict=True):
                if not isinstance(opened, Unreadable):
                    good.append((delivery, opened))
                elif opened.erased:
                    await delivery.ack()
                else:
                    await delivery.reject(reason=opened.reason)
            await self._write(good)

    async def _opened(self, deliveries: Sequence[Delivery]) -> Sequence[Opened]:
        return await self._reader.open([delivery.message for delivery in deliveries])

    async def _write(self, good: Sequence[tuple[Delivery, Readable]]) -> None:
        if not good:
            return
        deliveries = [delivery for delivery, _ in good]
        try:
            await self._put([opened for _, opened in good])
        except _REFUSALS as error:
            await self._write_singly(good, error)
            return
        except KalendsError as error:
            raise self._away(error) from error
        await failpoints.reach(f"index.{self._projection}.before-ack")
        await self._consumer.ack_all(deliveries)
        await failpoints.reach(f"index.{self._projection}.after-ack")
        self._finish([opened for _, opened in good])
        if self._indexed is not None:
            await self._indexed([opened for _, opened in good])

    async def _write_singly(self, good: Sequence[tuple[Delivery, Readable]], error: KalendsError) -> None:
        """Find the message that the store refuses; its neighbours flow.

        One that only takes something out says nothing that could be refused, and given up it would leave that to be found for ever.
        """
        if len(good) == 1:
            delivery, opened = good[0]
            if not any(True for _ in opened.entries()):
                raise Unavailable(error.detail, dependency=self._projection) from error
            log.error("message refused by the store", projection=self._projection, kind=error.code)
            await delivery.reject(reason=f"{error.code}: refused by the {self._projection} store")
            return
        half = len(good) // 2
        await self._write(good[:half])
        await self._write(good[half:])

    async def _put(self, opened: Sequence[Readable]) -> None:
        entries = [entry for one in opened for entry in one.entries()]
        tombstones = [stone for one in opened for stone in one.tombstones()]
        newest: dict[str, Entry] = {}
        for entry in entries:
            before = newest.get(entry.key)
            if before is None or before.version < entry.version:
                newest[entry.key] = entry
        await self._sink.put(list(newest.values()), tombstones)

    def _away(self, error: KalendsError) -> KalendsError:
        """An index that is gone, damaged or held by another, or a refused credential: no fault of what was to be written, but an outage."""
        return error if isinstance(error, Unavailable | DeadlineExceeded) else Unavailable(error.detail, dependency=self._projection)

    def _finish(self, opened: Sequence[Readable]) -> None:
        self.written += len(opened)
        self._moved()

    async def _until_back(self, error: KalendsError) -> None:
        """The open breaker: no writing until a probe succeeds, and less and less often until a write does.

        What was fetched is kept meanwhile; after long it is handed back, for it may be that only this process cannot reach the store.
        """
        self.failure, self.failing_since = error, self.failing_since or Since.now()
        log.warning("projection paused", projection=self._projection, dependency=error.dependency, reason=error.code)
        while True:
            await asyncio.sleep(next(self._pauses))
            try:
                await self._sink.probe()
                await self._reader.probe()
                await self._consumer.states()
            except KalendsError as again:
                self.failure = self._away(again)
                if self.failing_since.seconds_at(time.monotonic()) >= _LONG_S and self._may_hand_back():
                    await self._return_unused()
                continue
            if not self._unused:
                self._mended()  # there is nothing whose writing would tell
            return

    def _may_hand_back(self) -> bool:
        return all(delivery.attempt <= _FEW for delivery in chain.from_iterable(self._unused))

    def _mended(self) -> None:
        """Take note that the store takes what it is given."""
        if self.failing_since is not None:
            self.failure = self.failing_since = None
            self._pauses = self._new_pauses()
            log.info("projection goes on", projection=self._projection)

    def _new_pauses(self) -> Iterator[float]:
        return pauses(first=self._settings.breaker_first_s, longest=self._settings.breaker_longest_s)
