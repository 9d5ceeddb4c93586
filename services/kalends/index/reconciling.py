"""Reconcile: what each engine holds is compared with the truth, memory by memory, and what differs is mended while everything serves.

Belongs here: finding differences and mending them. Does not belong here: what is true (``truths``), what a digest or a difference is
(``comparing``), or how an engine lists what it holds (``adapters``). A newcomer would get wrong: most differences are not defects but
writes under way; a difference counts only if both sides still say the same after both have passed the log's head, and something is taken
out only if the log does not hold it. And with many memories it takes longer than it may: the next run goes on where one was cut off, or
the last memories would never be compared.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from kalends.domain.errors import DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.positions import Position, sequence_of
from kalends.domain.queries import Entry, Held, Tombstone
from kalends.domain.scope import CALENDAR_SUFFIX, Scope
from kalends.domain.versions import FOREVER
from kalends.edge.progress import Progress
from kalends.index.comparing import Difference, Sum, differences
from kalends.index.consumers import Sink
from kalends.index.truths import Truth
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.log import Log
from kalends.wire.comparisons import Compared, ComparisonStore
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import Opened, Reader, Unreadable

log = structlog.get_logger(__name__)

EVENTS = ""
"""The kind of scope that ends in nothing more: a memory's own; ``CALENDAR_SUFFIX`` is the other kind."""

PIECE = 1000
"""Keys that are compared at once, and differences that are looked at again together."""

_MENDED_AT_ONCE = 64
_GIVE_WAY_S = 0.5
_SAVED_S = 10.0
"""So much may be compared again by whoever goes on."""

_NAMED = 5
"""Damaged files or points that a line names."""

Observe = Callable[[str, str, int], None]


class Index(Protocol):
    """What lexicon and vectors have in common."""

    async def scopes(self) -> Sequence[str]:
        """See ``ports.lexicon``."""
        ...

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """See ``ports.lexicon``."""
        ...

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """See ``ports.lexicon``."""
        ...

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """See ``ports.lexicon``."""
        ...

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """See ``ports.lexicon``."""
        ...


async def _nothing_to_examine() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """A projection to compare: the index that serves, how one writes to it, and what of it is not what was written."""

    index: Index
    sink: Sink
    examine: Callable[[], Awaitable[Sequence[str]]] = _nothing_to_examine


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What was found, over all projections.

    ``compared`` keys; ``orphans`` are held though the log does not hold them or took them back, ``missing`` are not held, ``stale`` are
    held in another version; ``mended`` of these. ``undecided`` were still being written, ``unmendable`` could not be read or written.
    ``damaged`` are files, or points, that are not what was written; their projection was not compared, and is built anew.
    ``doubts`` are what the truth itself does not agree on with the log or its own counters. ``behind`` names projections that were too far
    behind to be compared. ``skipped`` scopes have no truth here.
    """

    compared: int = 0
    orphans: int = 0
    missing: int = 0
    stale: int = 0
    mended: int = 0
    undecided: int = 0
    unmendable: int = 0
    damaged: int = 0
    doubts: int = 0
    skipped: int = 0
    behind: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def defects(self) -> int:
        """Differences that are none of writes under way."""
        return self.orphans + self.missing + self.stale

    @property
    def text(self) -> str:
        """One line for people."""
        parts = [f"{self.compared} compared: {self.orphans} orphans, {self.missing} missing, {self.stale} stale; {self.mended} mended"]
        more = {"undecided": self.undecided, "unmendable": self.unmendable, "damaged": self.damaged, "doubts": self.doubts}
        for what, count in more.items():
            parts += [f"{count} {what}"] if count else []
        parts += [f"too far behind: {', '.join(self.behind)}"] if self.behind else []
        return "; ".join(parts) + (" (dry run)" if self.dry_run else "")


@dataclass(slots=True)
class _Tally:
    """A report in the making."""

    counts: dict[str, int] = field(default_factory=dict)
    behind: list[str] = field(default_factory=list)

    def add(self, what: str, count: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + count

    def report(self, *, dry_run: bool) -> ReconcileReport:
        return ReconcileReport(**self.counts, behind=tuple(self.behind), dry_run=dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One scope in one projection; ``scope`` is None for one that no memory has."""

    projection: str
    target: Reconciled
    truth: Truth
    scope_key: str
    scope: Scope | None
    tally: _Tally
    dry_run: bool


class Reconcile:
    """The task ``reconcile``; again is safe, and so is a cancellation anywhere."""

    def __init__(
        self,
        *,
        targets: Mapping[str, Reconciled],
        truths: Mapping[str, Truth],
        log: Log,
        reader: Reader,
        memories: MemoryRegistry,
        progress: Progress,
        traffic: Traffic,
        place: ComparisonStore,
        settle_s: float = 30.0,
        observe: Observe = lambda _projection, _finding, _count: None,
    ) -> None:
        """*targets* by projection; *truths* by what the keys of their scopes end in (``EVENTS``, ``CALENDAR_SUFFIX``).

        *settle_s* is how long one waits at most for a projection to pass the log's head. *observe* is told projection, finding and count.
        """
        self._targets = targets
        self._truths = truths
        self._log = log
        self._reader = reader
        self._memories = memories
        self._progress = progress
        self._traffic = traffic
        self._place = place
        self._settle_s = settle_s
        self._observe = observe
        self._saved_at = time.monotonic()

    async def __call__(self, *, dry_run: bool = False) -> ReconcileReport:
        """Compare every projection, one after the other, and mend what differs; a dry run only counts.

        It goes on behind what a run that was cut off had compared; a dry run begins at the beginning.

        Raises:
            Unavailable, DeadlineExceeded: the log, the keys, an engine or the model is away; what was mended stays mended.
        """
        tally = _Tally()
        begun = None if dry_run else await self._place.load()
        names = [*self._targets]
        left = names[names.index(begun.projection) :] if begun and begun.projection in names else names
        for projection in left:
            target = self._targets[projection]
            if begun and projection == begun.projection:
                await self._reconcile(projection, target, tally, dry_run=dry_run, after=begun.scope_key)
                continue
            if damaged := await target.examine():
                log.warning("files of a projection are damaged", projection=projection, count=len(damaged), files=list(damaged[:_NAMED]))
                tally.add("damaged", len(damaged))
                self._observe(projection, "damaged", len(damaged))
                continue
            await self._reconcile(projection, target, tally, dry_run=dry_run)
        await self._check_truths(tally)
        if not dry_run:
            await self._place.clear()
        report = tally.report(dry_run=dry_run)
        if report.defects or report.doubts:
            log.warning("projections differed from the log", result=report.text)
        return report

    async def _reconcile(self, projection: str, target: Reconciled, tally: _Tally, *, dry_run: bool, after: str = "") -> None:
        heads = await self._log.heads()
        if not await self._progress.reached(heads, self._names(projection), seconds=self._settle_s):
            tally.behind.append(projection)
            return
        # In this order: whatever is in an engine belongs to a memory that existed before.
        in_engine = set(await target.index.scopes())
        known = {kind: set(await truth.scopes()) for kind, truth in self._truths.items()}
        memories = await self._memories.scopes()
        named = {scope.key: scope for memory in memories for scope in (memory, memory.calendar)}
        for scope_key in sorted(key for key in in_engine.union(*known.values()) if key > after):
            truth = self._truths.get(CALENDAR_SUFFIX if scope_key.endswith(CALENDAR_SUFFIX) else EVENTS)
            if truth is None:
                tally.add("skipped")
                continue
            place = _Place(
                projection=projection,
                target=target,
                truth=truth,
                scope_key=scope_key,
                scope=named.get(scope_key),
                tally=tally,
                dry_run=dry_run,
            )
            await self._compare(place, not_after=max(heads.values(), default=0))
            if not dry_run and time.monotonic() - self._saved_at >= _SAVED_S:
                await self._place.save(Compared(projection=projection, scope_key=scope_key))
                self._saved_at = time.monotonic()

    def _names(self, projection: str) -> tuple[str, ...]:
        return (projection, *(truth.name for truth in self._truths.values()))

    async def _compare(self, place: _Place, *, not_after: int) -> None:
        """Compare one scope, its keys only if the digests differ; what came after the sequence *not_after* is not looked at."""
        true, there = (Sum(not_after=not_after, between=self._give_way) for _side in ("truth", "engine"))
        async for piece in self._pieces(place.truth, place.scope_key):
            await true.add(piece)
        await place.target.index.sweep(place.scope_key, there.add)
        if true.digest == there.digest:
            place.tally.add("compared", true.keys)
        else:
            await self._compare_keys(place, not_after=not_after)

    async def _compare_keys(self, place: _Place, *, not_after: int) -> None:
        """Walk truth and engine side by side, in pieces."""
        suspects: list[Difference] = []
        after: EventKey | None = None
        while True:
            await self._give_way()
            true = await place.truth.inventory(place.scope_key, after=after, limit=PIECE)
            there = await place.target.index.inventory(place.scope_key, after=after, limit=PIECE)
            # beyond its last key a full piece says nothing
            ends = [piece[-1].key for piece in (true, there) if len(piece) == PIECE]
            after = min(ends) if ends else None
            found, compared = differences(true, there, until=after)
            place.tally.add("compared", compared)
            suspects += [one for one in found if one.is_old(not_after)]
            if len(suspects) >= PIECE or after is None:
                await self._settle(place, suspects)
                suspects = []
            if after is None:
                return

    async def _settle(self, place: _Place, suspects: Sequence[Difference]) -> None:
        """Look at *suspects* again once nothing that they are about can be under way any more, and mend those that are still there."""
        if not suspects:
            return
        wanted = dict(await self._log.heads())
        for stream, floor in (await place.truth.floors()).items():
            wanted[stream] = max(floor, wanted.get(stream, 0))
        if not await self._progress.reached(wanted, self._names(place.projection), seconds=self._settle_s):
            place.tally.add("undecided", len(suspects))
            return
        keys = [one.key for one in suspects]
        true = {one.key: one for one in await place.truth.held(place.scope_key, keys)}
        there = {one.key: one for one in await place.target.index.held(place.scope_key, keys)}
        left = [one for one in suspects if true.get(one.key) != there.get(one.key)]
        unmoved = [one for one in left if (true.get(one.key), there.get(one.key)) == (one.true, one.there)]
        place.tally.add("undecided", len(left) - len(unmoved))
        doubts = await self._doubts(place, [one.ahead for one in unmoved if one.ahead is not None])
        defects = [one for one in unmoved if one.key not in doubts]
        for start in range(0, len(defects), _MENDED_AT_ONCE):
            await self._give_way()
            await self._mend(place, defects[start : start + _MENDED_AT_ONCE])

    async def _doubts(self, place: _Place, ahead: Sequence[Held]) -> set[EventKey]:
        """Those keys of *ahead* of which the truth should have heard: the log holds that version, or only an erasure can have made it."""
        erased = {one.key for one in ahead if one.version == FOREVER}
        doubts = erased | await self._in_log(place.scope_key, [one for one in ahead if one.key not in erased])
        if doubts:
            log.warning("a projection does not know what the log or an engine does", truth=place.truth.name, count=len(doubts))
            place.tally.add("doubts", len(doubts))
        return doubts

    async def _in_log(self, scope_key: str, held: Sequence[Held]) -> set[EventKey]:
        """Those keys of *held* that the log's message of that version, of whichever stream, is about."""
        streams = await self._log.heads()
        found: set[EventKey] = set()
        for start in range(0, len(held), _MENDED_AT_ONCE):
            piece = held[start : start + _MENDED_AT_ONCE]
            positions = [Position(stream, sequence_of(one.version)) for one in piece for stream in streams]
            messages = [message for message in await self._log.read(positions) if message is not None]
            about = {pair for opened in await self._reader.open(messages) for pair in _about(opened)}
            found |= {one.key for one in piece if (scope_key, one.key) in about}
        return found

    async def _mend(self, place: _Place, defects: Sequence[Difference]) -> None:
        """Bring the engine to what is true; an older version than what is written meanwhile changes nothing there."""
        wanted = [one.key for one in defects if one.true is not None and one.true.live]
        entries, erased = await self._entries(place, wanted)
        tombstones, doomed, good = [], [], []
        for one in defects:
            if one.true is not None and one.key in erased:
                if one.there is not None and one.there.live:
                    doomed.append(one.there)
                continue
            self._note(place, one.finding)
            if one.true is not None and not one.true.live:
                if place.scope is None:
                    place.tally.add("unmendable")
                    continue
                tombstones.append(Tombstone(scope=place.scope, key=one.key, version=one.true.version))
            elif one.true is not None and one.key not in entries:
                place.tally.add("unmendable")
                continue
            if one.there is not None and (one.true is None or one.there.version >= one.true.version):
                doomed.append(one.there)  # the engine would refuse to go back, so what it holds goes first
            good.append(one)
        if place.dry_run:
            return
        await failpoints.reach("reconcile.before-mend")
        await place.target.index.remove(place.scope_key, doomed)
        refused = await _put(place.target.sink, list(entries.values()), tombstones)
        place.tally.add("unmendable", refused)
        place.tally.add("mended", len(good) - refused)

    async def _entries(self, place: _Place, keys: Sequence[EventKey]) -> tuple[dict[EventKey, Entry], set[EventKey]]:
        """What to write of *keys*, read from the log and opened anew; and those whose data key was destroyed, which is lawful."""
        places = await place.truth.places(place.scope, keys) if place.scope is not None and keys else {}
        messages = await self._log.read(list(places.values()))
        there = {key: message for key, message in zip(places, messages, strict=True) if message is not None}
        entries: dict[EventKey, Entry] = {}
        erased: set[EventKey] = set()
        for key, opened in zip(there, await self._reader.open(list(there.values())), strict=True):
            if isinstance(opened, Unreadable) and opened.erased:
                erased.add(key)
            entries |= {entry.key: entry for entry in _entries_of(opened) if entry.key == key}
        return entries, erased

    def _note(self, place: _Place, finding: str) -> None:
        place.tally.add(finding)
        self._observe(place.projection, finding, 1)

    async def _check_truths(self, tally: _Tally) -> None:
        """What can be said of a truth itself without reading the log: it is not ahead of it, and its counters are those of its rows."""
        for kind, truth in self._truths.items():
            ahead = await self._ahead(truth)
            known = set(await truth.scopes())
            memories = (memory.calendar if kind == CALENDAR_SUFFIX else memory for memory in await self._memories.scopes())
            wrong = [scope for scope in memories if scope.key in known and not await self._is_counted_right(truth, scope)]
            if ahead or wrong:
                log.warning("a projection does not agree with itself", truth=truth.name, ahead=len(ahead), miscounted=len(wrong))
            tally.add("doubts", len(ahead) + len(wrong))

    async def _ahead(self, truth: Truth) -> Sequence[Position]:
        """Places that the truth has passed and the log has not come to; the log's own head may be a moment old, so they are read."""
        floors, heads = await truth.floors(), await self._log.heads()
        beyond = [Position(stream, floor) for stream, floor in floors.items() if floor > heads.get(stream, 0)]
        return [position for position, message in zip(beyond, await self._log.read(beyond), strict=True) if message is None]

    async def _is_counted_right(self, truth: Truth, scope: Scope) -> bool:
        """Whether as many are live as are counted; taken for right if something is written meanwhile."""
        before, counted = await truth.floors(), await truth.count(scope)
        live = 0
        async for piece in self._pieces(truth, scope.key):
            await self._give_way()
            live += sum(one.live for one in piece)
        return live == counted or await truth.floors() != before

    async def _pieces(self, truth: Truth, scope_key: str) -> AsyncIterator[Sequence[Held]]:
        """Everything that there is of one scope, by key."""
        after: EventKey | None = None
        while piece := await truth.inventory(scope_key, after=after, limit=PIECE):
            yield piece
            after = piece[-1].key

    async def _give_way(self) -> None:
        await self._traffic.give_way(at_most=_GIVE_WAY_S)


def _about(opened: Opened) -> Iterable[tuple[str, EventKey]]:
    """Of which keys of which scopes a message is."""
    if isinstance(opened, Unreadable):
        return []
    changes: list[Entry | Tombstone] = [*opened.entries(), *opened.tombstones()]
    return [(change.scope.key, change.key) for change in changes]


def _entries_of(opened: Opened) -> Sequence[Entry]:
    return [] if isinstance(opened, Unreadable) else opened.entries()


async def _put(sink: Sink, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> int:
    """Write; what the store refuses is found one by one and counted, and its neighbours are written."""
    if not entries and not tombstones:
        return 0
    try:
        await sink.put(entries, tombstones)
    except (Unavailable, DeadlineExceeded):
        raise
    except KalendsError as error:
        if len(entries) + len(tombstones) == 1:
            log.error("a projection could not be mended", kind=error.code)  # noqa: TRY400 - a refusal, whose traceback says nothing
            return 1
        return sum([await _put(sink, [one], []) for one in entries]) + sum([await _put(sink, [], [one]) for one in tombstones])
    return 0
