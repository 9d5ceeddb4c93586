"""Group commit: what many callers append at once goes to the broker as a few atomic batches, each synced once.

Belongs here: gathering, committing, splitting and repeating for one stream. Does not belong here: which stream a draft belongs to
(``log``). A newcomer would get wrong: a duplicate makes the broker refuse the whole batch, so its neighbours are then published one by
one; and after a broken connection "duplicate" may mean our own first try, which only the stored message can tell (its headers name it).

A memory may move to another stream at any time, and each stream remembers its own message ids only. So what may have been stored is
repeated with the name of the stream that it was sent to, which any other refuses; and only what is not there is sent to the other one.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from kalends.adapters.nats import reading
from kalends.adapters.nats.failures import BATCH_LOST, DEPENDENCY, DUPLICATE_IN_BATCH, RETRY_AFTER, accepted, decoded, refusal_code
from kalends.adapters.nats.layout import is_own
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests, frame, release, status
from kalends.adapters.nats.whereabouts import Whereabouts
from kalends.domain.errors import DeadlineExceeded, KalendsError, Throttled, Unavailable
from kalends.domain.positions import Position
from kalends.kit import failpoints
from kalends.kit.backoff import pauses
from kalends.ports.log import Appended

TRY = "Kalends-Try"
"""The header that names the try of a message that was published alone; a batch has ``Nats-Batch-Id``."""

_OTHER_STREAM = 10060
_NOBODY = 503


class _Moved(Unavailable):
    """The draft's memory is in another stream by now, and nothing of the draft is stored where it was before."""


class _NotTaken(Unavailable):
    """The broker says that it stored nothing of this."""


class Call:
    """One call of ``append``: its results so far, and the future that says that all of them are there."""

    __slots__ = ("deadline", "done", "failure", "missing", "results")

    def __init__(self, count: int, *, deadline: float) -> None:
        self.results: list[Appended | None] = [None] * count
        self.failure: KalendsError | None = None
        self.missing = count
        self.deadline = deadline
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def moved(self) -> bool:
        """Whether some of it is not stored because its memory is in another stream by now."""
        return isinstance(self.failure, _Moved)

    def settle(self, index: int, outcome: Appended | KalendsError) -> None:
        """Note the outcome of one draft."""
        if isinstance(outcome, KalendsError):
            self.failure = self.failure or outcome
        else:
            self.results[index] = outcome
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class Entry:
    """A draft under way: its parts for the wire, who waits for it, and who came later with the same id."""

    subject: str
    message_id: str
    headers: bytes
    body: bytes
    call: Call
    index: int
    slot: int
    own: str = ""
    """The stream of its memory, if that has one of its own."""
    ours: frozenset[str] = frozenset()
    """The ids of tries that may have stored it in the stream that it is now sent to."""
    followers: list[tuple[Call, int]] = field(default_factory=list)
    size: int = field(init=False)
    """Bytes on the wire, nearly."""

    def __post_init__(self) -> None:
        """Measure once; it is asked for at every step."""
        self.size = len(self.body) + len(self.headers) + len(self.subject) + 200

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.call.done.cancelled() and all(call.done.cancelled() for call, _ in self.followers)

    def settle(self, outcome: Appended | KalendsError) -> None:
        """Tell everybody who waits."""
        self.call.settle(self.index, outcome)
        if self.followers and not isinstance(outcome, KalendsError):
            outcome = Appended(position=outcome.position, duplicate=True)
        for call, index in self.followers:
            call.settle(index, outcome)


@dataclass(slots=True)
class _Try:
    """A commit over its repetitions: the ids that its tries had, and whether one of them may have been stored.

    ``since`` is a sequence of the stream that is older than all of them; ``refused`` whether the broker said that it did not store the
    last one.
    """

    since: int
    ids: set[str] = field(default_factory=set)
    unknown: bool = False
    refused: bool = False

    def failed(self, error: BaseException) -> None:
        """Take note of how a try ended."""
        self.refused = isinstance(error, _NotTaken)
        self.unknown = self.unknown or not self.refused


class Committer:
    """The group commit of one stream."""

    def __init__(
        self, stream: str, *, requests: Requests, options: NatsOptions, group: asyncio.TaskGroup, whereabouts: Whereabouts
    ) -> None:
        self._stream = stream
        self._whereabouts = whereabouts
        self._requests = requests
        self._options = options
        self._group = group
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._owners: dict[str, Entry] = {}
        self._in_flight = 0
        self._busy: dict[Call, int] = {}
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()

    def room(self, entries: Sequence[Entry]) -> None:
        """Check that *entries* may wait here.

        Raises:
            Throttled: too many wait already.
        """
        size = sum(entry.size for entry in entries)
        crowded = len(self._waiting) + len(entries) > self._options.waiting_max or self._bytes + size > self._options.waiting_bytes
        if crowded and self._waiting:
            raise Throttled("too many events wait for the log", dependency=DEPENDENCY, retry_after=RETRY_AFTER)

    def submit(self, entries: Sequence[Entry]) -> None:
        """Queue *entries*; their calls are settled in time. One whose id is already under way follows that one."""
        for entry in entries:
            owner = self._owners.get(entry.message_id)
            if owner is not None:
                owner.followers.append((entry.call, entry.index))
                continue
            self._owners[entry.message_id] = entry
            self._waiting.append(entry)
            self._bytes += entry.size
        self._idle.clear()
        self._schedule()

    async def drained(self) -> None:
        """Return when nothing waits and nothing is under way."""
        await self._idle.wait()

    def _schedule(self) -> None:
        # Not at once: callers whom the last commit woke are about to come, and one sync for all of them is the whole point.
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        while self._waiting and self._in_flight < self._options.commits_in_flight:
            if self._in_flight and len(self._waiting) < self._options.batch_max:
                break  # one sync for many is cheaper than a sync for few that starts earlier
            batch = self._gather()
            if not batch:
                break
            self._in_flight += 1
            for entry in batch:
                self._busy[entry.call] = self._busy.get(entry.call, 0) + 1
            self._group.create_task(self._commit(batch))
        if not self._waiting and not self._in_flight:
            self._idle.set()

    def _gather(self) -> list[Entry]:
        """The next batch. Of a call that has messages under way nothing more is sent, for if those fail, order would be lost."""
        batch: list[Entry] = []
        kept: list[Entry] = []
        size = 0
        while self._waiting and len(batch) < self._options.batch_max:
            entry = self._waiting.popleft()
            if entry.abandoned:
                self._forget(entry)
            elif entry.call in self._busy:
                kept.append(entry)
            elif entry.call.failure is not None and entry.call.moved:
                self._bytes -= entry.size
                self._settle(entry, entry.call.failure)  # what went before it did not arrive, and order is kept
            elif batch and size + entry.size > self._options.batch_bytes:
                kept.append(entry)
                break
            else:
                batch.append(entry)
                size += entry.size
                self._bytes -= entry.size
        self._waiting.extendleft(reversed(kept))
        return batch

    def _forget(self, entry: Entry) -> None:
        self._bytes -= entry.size
        self._disown(entry)

    def _disown(self, entry: Entry) -> bool:
        """Let a later draft with this id be one of its own; whether *entry* was still the one under way."""
        if self._owners.get(entry.message_id) is not entry:
            return False
        del self._owners[entry.message_id]
        return True

    async def _commit(self, batch: list[Entry]) -> None:
        try:
            await self._until_known(batch)
        except KalendsError as error:
            for entry in batch:
                self._settle(entry, error)
        finally:
            for entry in batch:
                self._disown(entry)
                left = self._busy.pop(entry.call) - 1
                if left:
                    self._busy[entry.call] = left
            self._in_flight -= 1
            self._schedule()

    def _settle(self, entry: Entry, outcome: Appended | KalendsError) -> None:
        if not self._disown(entry):
            return  # settled before
        entry.settle(outcome)

    async def _until_known(self, batch: list[Entry]) -> None:
        """Commit *batch*, again and again while the outcome is unknown and somebody still waits for it."""
        loop = asyncio.get_running_loop()
        deadline = max(entry.call.deadline for entry in batch)
        tries = _Try(since=self._whereabouts.heads.get(self._stream, 0))
        for entry in batch:
            if entry.ours:
                tries.ids |= entry.ours
                tries.unknown = True
        alone = False
        for wait in pauses(first=0.02, longest=0.5):
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + self._options.attempt_timeout)):
                    await self._requests.link.connected.wait()
                    if tries.refused:
                        batch = await self._still_here(batch, tries)
                    if batch and (alone or not await self._together(batch, tries)):
                        alone = True
                        await self._one_by_one(self._unsettled(batch), tries)
                    return
            except (TimeoutError, Unavailable, DeadlineExceeded) as error:
                tries.failed(error)
                if loop.time() + wait >= deadline or all(entry.abandoned for entry in batch):
                    raise self._gave_up(tries) from error
            await asyncio.sleep(wait)

    def _unsettled(self, batch: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in batch if self._owners.get(entry.message_id) is entry]

    async def _still_here(self, batch: Sequence[Entry], tries: _Try) -> list[Entry]:
        """What of *batch* is still for this stream. Of the others, who was stored here before is told where; the rest has moved."""
        waiting = self._unsettled(batch)
        gone = await self._whereabouts.gone_from(self._stream, (entry.slot for entry in waiting))
        moved = [entry for entry in waiting if entry.slot in gone]
        stored = await self._stored(moved, tries) if moved and tries.unknown else {}
        for entry in moved:
            outcome = stored.get(entry.message_id)
            if outcome is None and tries.unknown:
                entry.ours = frozenset(tries.ids)
            self._settle(
                entry, outcome or _Moved("nats: the memory moves to another stream", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
            )
        return [entry for entry in waiting if entry.slot not in gone]

    async def _stored(self, entries: Sequence[Entry], tries: _Try) -> dict[str, Appended]:
        """Those of *entries*, by message id, that are in this stream since before the first try."""
        wanted = {entry.message_id for entry in entries}
        info = await self._requests.api(f"STREAM.INFO.{self._stream}")
        state = info.get("state")
        head = _number(state, "last_seq") if isinstance(state, dict) else 0
        found: dict[str, Appended] = {}
        for sequence, headers in await reading.headers_between(
            self._requests,
            self._stream,
            after=tries.since,
            upto=head,
            window=self._options.reads_in_flight,
            confirm=self._options.replicas > 1,
        ):
            message_id = headers.get("Nats-Msg-Id", "")
            if message_id in wanted:
                place = self._whereabouts.position(self._stream, sequence)
                found[message_id] = Appended(position=place, duplicate=not _is_of(headers, tries.ids))
        return found

    def _gave_up(self, tries: _Try) -> KalendsError:
        link = self._requests.link
        if not link.connected.is_set():
            return link.down()
        if tries.refused and is_own(self._stream):
            return Unavailable("nats: the stream of a dedicated memory is not there", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
        return DeadlineExceeded("nats: no commit in time", dependency=DEPENDENCY, retry_after=RETRY_AFTER)

    async def _together(self, batch: Sequence[Entry], tries: _Try) -> bool:
        """Commit *batch* as one; False if it must be split because of a duplicate in it."""
        batch_id = secrets.token_hex(8)
        tries.ids.add(batch_id)
        reply, future = self._requests.expect()
        try:
            await failpoints.reach("log.before-commit")
            frames = batch_frames(batch, batch_id=batch_id, reply=reply, only=self._stream if tries.unknown else "")
            await self._requests.link.send(frames, messages=len(batch))
            await failpoints.reach("log.before-answer")
            message = await future
            await failpoints.reach("log.after-commit")
        finally:
            release([future])
        _need_taker(message)
        stored = decoded(message.data)
        code = refusal_code(stored)
        if code == DUPLICATE_IN_BATCH:
            return False
        if code in BATCH_LOST or code == _OTHER_STREAM:
            raise _NotTaken("nats: the batch was not taken", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
        accepted(stored)
        last = _number(stored, "seq")
        if _number(stored, "count") != len(batch):
            raise Unavailable("nats: another number of messages was stored than sent", dependency=DEPENDENCY)
        stream = str(stored["stream"])
        epoch = await self._whereabouts.epoch_of(stream)
        self._whereabouts.noted(stream, last)
        for offset, entry in enumerate(batch, start=last - len(batch) + 1):
            self._settle(entry, Appended(position=Position(stream, offset, epoch)))
        return True

    async def _one_by_one(self, entries: Sequence[Entry], tries: _Try) -> None:
        """Publish each alone, all at once and in order, so that each gets its own outcome."""
        try_id = secrets.token_hex(8)
        ours = frozenset(tries.ids) if tries.unknown else frozenset()
        tries.ids.add(try_id)
        expected = [self._requests.expect() for _ in entries]
        try:
            only = self._stream if tries.unknown else ""
            frames = [
                single_frame(entry, try_id=try_id, reply=reply, only=only) for entry, (reply, _) in zip(entries, expected, strict=True)
            ]
            await self._requests.link.send(b"".join(frames), messages=len(frames))
            await failpoints.reach("log.before-single-answers")
            for entry, (_, future) in zip(entries, expected, strict=True):
                await self._alone(entry, await future, ours=ours)
        except _NotTaken:
            tries.unknown = True  # those behind it were sent, too, and are not waited for
            raise
        finally:
            release([future for _, future in expected])

    async def _alone(self, entry: Entry, message: Msg, *, ours: frozenset[str]) -> None:
        _need_taker(message)
        try:
            told = decoded(message.data)
            if refusal_code(told) == _OTHER_STREAM:
                raise _NotTaken("nats: another stream has the subject", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
            stored = accepted(told)
        except (Unavailable, DeadlineExceeded):
            raise
        except KalendsError as error:
            self._settle(entry, error)
            return
        stream, sequence = str(stored["stream"]), _number(stored, "seq")
        duplicate = bool(stored.get("duplicate"))
        if duplicate and ours:
            duplicate = not await self._is_ours(stream, sequence, ours=ours)
        position = Position(stream, sequence, await self._whereabouts.epoch_of(stream))
        self._whereabouts.noted(stream, sequence)
        self._settle(entry, Appended(position=position, duplicate=duplicate))

    async def _is_ours(self, stream: str, sequence: int, *, ours: frozenset[str]) -> bool:
        """Whether the message at *sequence* came from one of our own tries."""
        confirm = self._options.replicas > 1
        found = await reading.headers_between(self._requests, stream, after=sequence - 1, upto=sequence, window=1, confirm=confirm)
        return any(_is_of(headers, ours) for _, headers in found)


def _need_taker(message: Msg) -> None:
    if not message.data and status(message) == _NOBODY:
        raise _NotTaken("nats: no stream has the subject", dependency=DEPENDENCY, retry_after=RETRY_AFTER)


def _is_of(headers: Mapping[str, str], tries: Collection[str]) -> bool:
    return headers.get("Nats-Batch-Id") in tries or headers.get(TRY) in tries


def batch_frames(batch: Sequence[Entry], *, batch_id: str, reply: str, only: str = "") -> bytes:
    """*batch* on the wire: numbered from 1, only the last one commits and asks for an answer (ADR-50 of NATS).

    With *only*, every other stream refuses it.
    """
    last = len(batch)
    frames = []
    pin = _pin(only)
    for number, entry in enumerate(batch, start=1):
        lines = f"Nats-Msg-Id: {entry.message_id}\r\nNats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n{pin}".encode()
        if number == last:
            lines += b"Nats-Batch-Commit: 1\r\n"
        frames.append(frame(entry.subject, entry.body, reply=reply if number == last else "", headers=lines + entry.headers))
    return b"".join(frames)


def single_frame(entry: Entry, *, try_id: str, reply: str, only: str = "") -> bytes:
    """*entry* on the wire, alone; with *only*, every other stream refuses it."""
    lines = f"Nats-Msg-Id: {entry.message_id}\r\n{TRY}: {try_id}\r\n{_pin(only)}".encode()
    return frame(entry.subject, entry.body, reply=reply, headers=lines + entry.headers)


def _pin(stream: str) -> str:
    return f"Nats-Expected-Stream: {stream}\r\n" if stream else ""


def _number(stored: Mapping[str, object], key: str) -> int:
    value = stored.get(key, 0)
    return value if isinstance(value, int) else 0
