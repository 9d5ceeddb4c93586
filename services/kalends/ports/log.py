"""The log: durable, ordered, the only record.

A newcomer would get wrong: ``append`` returns only after the store has synced; a duplicate is an outcome, not an error.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kalends.domain.positions import Position
from kalends.domain.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to append. ``message_id`` makes a repetition within the store's window a duplicate."""

    scope: Scope
    message_id: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Appended(NamedTuple):
    """Where a draft now is; for a duplicate, where the first one is (None if the store no longer says)."""

    position: Position
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One stored message. ``recorded_us`` is the store's own time in microseconds."""

    position: Position
    body: bytes
    headers: Mapping[str, str]
    recorded_us: int


class Delivery(Protocol):
    """A message under way to a durable consumer; settle it exactly once."""

    @property
    def message(self) -> Message: ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        ...

    @property
    def settled(self) -> bool:
        """Whether it was acked, handed back or rejected here."""
        ...

    async def ack(self) -> None:
        """Done, and durably so."""
        ...

    async def retry(self, *, after: float) -> None:
        """Not now; deliver again after *after* seconds."""
        ...

    async def reject(self, *, reason: str) -> None:
        """Never again; the reason must hold no content."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerState:
    """How far a durable consumer is on one stream: everything up to ``floor`` is acked, ``pending`` wait behind it."""

    stream: str
    floor: int
    pending: int
    in_flight: int


class Consumer(Protocol):
    """A durable reader of every stream of events, also of those that come to be."""

    async def fetch(self, *, limit: int, wait: float) -> Sequence[Delivery]:
        """Up to *limit* deliveries; empty after *wait* seconds without any."""
        ...

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Ack many at once."""
        ...

    async def keep(self, in_hand: Callable[[], Iterable[Delivery]]) -> None:
        """Until cancelled, have nobody else get what *in_hand* tells of and is not settled, nor what was sent here and not fetched.

        Without it they are delivered again after the time to ack, however hard somebody works on them.
        """
        ...

    async def pause(self) -> None:
        """Take nothing more until the next ``fetch``; what was sent here and not fetched is delivered again at once, to whoever fetches."""
        ...

    async def states(self) -> Sequence[ConsumerState]:
        """One state per stream."""
        ...

    async def close(self) -> None:
        """Let go of it here, once is enough: it stays as durable as it was; what was sent here and not fetched comes after the ack wait."""
        ...


class Log(Protocol):
    """The streams of events. There may be more of them at any time: memories then move to the new ones, and everything here goes on."""

    @property
    def left_behind(self) -> Mapping[str, int]:
        """Per stream, the sequence up to which there are messages of memories that are in another one now; the same object until it grows.

        The store's window for repeated ids does not reach back to there: whoever appends must have read that far.
        """
        ...

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Appended]:
        """Append *drafts*, each atomically, and return after the store has synced them; order is kept within a scope.

        Raises:
            Throttled: the log is full. Unavailable, DeadlineExceeded: nothing is known of the outcome; repeat with the same ids.
        """
        ...

    async def dedicate(self, scope: Scope) -> None:
        """Make the stream that the memory of *scope* has for itself; again changes nothing. It stays for ever, also when it was emptied.

        Only for a memory of which ``wire.isolations`` says so, and before anything is appended to it.

        Raises:
            Throttled: there is no room for it. Unavailable, DeadlineExceeded: it is not known whether it was made; again is safe.
        """
        ...

    def is_dedicated(self, memory_key: str) -> bool:
        """Whether the memory with this scope key has a stream of its own, as far as is known here.

        It is known of every memory of which anything was handed out here. Yes never becomes no.
        """
        ...

    async def read(self, positions: Sequence[Position]) -> Sequence[Message | None]:
        """The messages at *positions*, None where there is none (any more)."""
        ...

    async def erase(self, positions: Sequence[Position]) -> int:
        """Take messages out for good, so that their bytes are overwritten in the store's own files; how many were there.

        A place that is empty (any more), or of a stream or an epoch that this log does not have, is passed over, as ``read`` does; so the
        same again finishes what was cut off. The log does not know which of its messages say the same of one event: whoever erases asks
        ``Timeline.positions`` and ``Calendar.histories``, which have seen them all. With replicas, one that is behind may give them for a
        moment longer to who follows, and copies stay in the servers' own logs of what they agreed on for a while (docs/decisions/0020).

        Raises:
            Unavailable, DeadlineExceeded: some may still be there; again is safe. With replicas also while one is away.
        """
        ...

    async def wash(self, names: Collection[str]) -> None:
        """Have the replicas of the streams *names* write their own logs anew, in which what was erased still stands.

        Returns once all of them have caught up, about ten seconds for each stream later; without replicas there is nothing to do.

        Raises:
            Unavailable: a replica is away or behind, and may hold what was erased; again later is safe. DeadlineExceeded: the same.
        """
        ...

    async def heads(self, *, whole: bool = False) -> Mapping[str, int]:
        """Per stream, the last sequence that was given out.

        Of what other processes do it may be a moment old, and a stream that one of them has just made may be lacking for some seconds. Not
        if *whole*: then everything is in it that was acknowledged before it was asked, wherever, which costs a question more.
        """
        ...

    async def has_none(self, *, after: Mapping[str, int], upto: Mapping[str, int]) -> bool:
        """Whether no stream has a message behind *after* up to *upto* (any more): what was there is erased, and nobody need wait for it.

        No, too, while the store does not say.
        """
        ...

    def follow(self, *, after: Mapping[str, int], limit: int) -> AsyncGenerator[Sequence[Message], None]:
        """Every message after the given sequences, in stream order, in batches of up to *limit*; waits for more without end.

        A memory that moved comes in its order nevertheless. Yields an empty batch at least every few seconds, so that the caller can look
        up. Missing streams start at 0.
        """
        ...

    def history(
        self, scope: Scope, *, after: Mapping[str, int], upto: Mapping[str, int], limit: int
    ) -> AsyncGenerator[Sequence[Message], None]:
        """The messages of one memory behind the sequences *after* up to *upto*, in each stream's order, in batches of up to *limit*.

        It ends. Only what the memory has is read, however much the log holds of others; what was taken out is passed over, wherever it is.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer; what was handed out says how far it came.
        """
        ...

    async def consumer(self, name: str, *, start: Mapping[str, int] | None = None) -> Consumer:
        """Open (or make) the durable consumer *name*; *start* gives the sequences after which a new one begins."""
        ...

    async def consumers(self) -> Sequence[str]:
        """The names of all durable consumers."""
        ...

    async def drop_consumer(self, name: str) -> None:
        """Forget a durable consumer; one that does not exist is no error."""
        ...

    async def bytes_stored(self) -> int:
        """Size of the streams on disk, in bytes."""
        ...
