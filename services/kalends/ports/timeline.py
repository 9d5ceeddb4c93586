"""The timeline: which events exist, where in the log they are, and in which order they happened.

It is a projection like the others but holds no text; each process that needs it follows the log by itself, and its floor is stored in the
same transaction as its rows. It answers "do I know this id?" for ingest, and lists, neighbours and sessions for search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kalends.domain.events import EventId, EventKey, Facets
from kalends.domain.labels import EVERYTHING, Clearance
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria, Digest, Held
from kalends.domain.retention import Aged
from kalends.domain.scope import Scope

ANY = Criteria()
"""What every live event meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One event as the timeline learns it. ``content_mac`` tells the same content from another."""

    scope: Scope
    key: EventKey
    event_id: EventId
    position: Position
    content_mac: bytes
    occurred_us: int
    recorded_us: int
    facets: Facets
    tags: tuple[str, ...]
    size: int
    """Bytes of the stored message."""
    length: int = 0
    """Characters of the text."""
    document: bool = False
    expires_us: int | None = None
    """From when on it is to be found no more (microseconds); None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the timeline knows of an event. ``retracted``: it was there and was taken back.

    ``erased``: it is to be unknown for ever, whatever comes; then it is ``retracted`` too, the id and the session are empty, and so are
    the MAC and the moment.
    """

    key: EventKey
    event_id: EventId
    position: Position
    content_mac: bytes
    occurred_us: int
    session: str
    retracted: bool = False
    erased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """One session: its id, how many events it has, and when the first and last of them occurred (microseconds; 0 without any)."""

    session_id: str
    events: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """Counts of one memory; times in microseconds, None while it is empty."""

    events: int = 0
    documents: int = 0
    sessions: int = 0
    log_bytes: int = 0
    first_us: int | None = None
    last_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retracted:
    """Events taken back by one message of the log."""

    scope: Scope
    keys: tuple[EventKey, ...]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Events erased for ever by one message of the log; a key that nothing is known of is erased too.

    In the engines an erased event is a tombstone of the version ``versions.FOREVER``, so that no write, however late, brings it back; the
    timeline says so in ``held`` and ``digest``. ``sessions`` are the tags (``queries.tag("session_id", ...)``) of the sessions that go
    whole: the calendar forgets what it knew of them up to this message.
    """

    scope: Scope
    keys: tuple[EventKey, ...]
    position: Position
    sessions: tuple[str, ...] = ()


class Timeline(Protocol):
    """Events in the order in which they happened, within one memory."""

    async def floors(self) -> Mapping[str, int]:
        """Per stream, the sequence up to which the timeline has followed the log."""
        ...

    async def put(self, changes: Sequence[TimelineEntry | Retracted | Erased], *, floors: Mapping[str, int]) -> None:
        """Apply *changes* and advance to *floors* in one transaction; the same again changes nothing.

        What is erased keeps its key and its places in the log and nothing else, also in the bytes of the files once ``compact`` has run; a
        session without any event left that is not erased disappears.
        """
        ...

    async def positions(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Sequence[Position]]:
        """Every place in the log at which each of *keys* was ever written, the oldest first: a repeated id may stand there more than once.

        Also of what was retracted or erased, as far as it was seen before or after that; nothing for a key that was never written.
        """
        ...

    async def lookup(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Known]:
        """What is known of *keys*, the retracted included."""
        ...

    async def page(
        self, scope: Scope, *, criteria: Criteria, after: tuple[int, int] | None, descending: bool, limit: int
    ) -> Sequence[Known]:
        """Live events by (occurred_us, version), after the given pair in the chosen direction."""
        ...

    async def around(self, scope: Scope, key: EventKey, *, before: int, after: int, criteria: Criteria = ANY) -> Sequence[Known]:
        """The event and its neighbours in its session, in session order, of those that meet *criteria*; empty if it is not there itself."""
        ...

    async def neighbours(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, tuple[EventKey | None, EventKey | None]]:
        """For each key the event before and after it in its session."""
        ...

    async def lengths(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, int]:
        """Characters of each live event's text."""
        ...

    async def matching(self, scope: Scope, keys: Sequence[EventKey], *, criteria: Criteria) -> frozenset[EventKey]:
        """Those of *keys* that are live and meet *criteria*."""
        ...

    async def sessions(
        self, scope: Scope, *, after: tuple[int, str] | None, limit: int, clearance: Clearance = EVERYTHING
    ) -> Sequence[SessionSummary]:
        """Sessions by (last_us descending, id), after the given pair, as they would be without what *clearance* does not let see."""
        ...

    async def session(self, scope: Scope, session_id: str, *, clearance: Clearance = EVERYTHING) -> SessionSummary | None:
        """One session, as it would be without what *clearance* does not let see; None if nothing is left of it."""
        ...

    async def stats(self, scope: Scope, *, clearance: Clearance = EVERYTHING) -> MemoryStats:
        """Counts of one memory, as they would be without what *clearance* does not let see."""
        ...

    async def digest(self) -> Digest: ...

    async def scopes(self) -> Sequence[str]:
        """The keys of all scopes of which something is held, tombstones included."""
        ...

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope, by key, beginning after the given one; a piece shorter than *limit* is the last."""
        ...

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope, in no order; nothing for a key that was never heard of."""
        ...

    async def session_ids(self, scope_key: str, *, after: str | None, limit: int) -> Sequence[str]:
        """Every session that ever had an event in one memory, documents and emptied ones included, by id, after the given one."""
        ...

    async def expired(self, scope: Scope, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> Sequence[Aged]:
        """Events whose own time was over at *now_us*, also if they were taken back, by (expires_us, key), after the given pair.

        What was erased is none any more.
        """
        ...

    async def census(self, scope: Scope, now_us: int) -> Mapping[str, int]:
        """Live events that have not expired at *now_us*, by kind; those of documents are not counted."""
        ...

    async def oldest(self, scope: Scope, kind: str, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> Sequence[Aged]:
        """The events of ``census`` of one kind by (recorded_us, key), after the given pair."""
        ...

    async def quiet(self, scope: Scope, before_us: int, *, after: str | None, limit: int) -> Sequence[SessionSummary]:
        """Sessions in which nothing was recorded since *before_us*, documents left out, by id, after the given one.

        Also one of which every event was taken back and not erased, which has no moments.
        """
        ...

    async def compact(self) -> int:
        """Make what is stored smaller while it serves; the bytes of disk that were freed, which may be 0. No answer changes."""
        ...
