"""The log on JetStream.

Belongs here: the port's operations over the parts that do them (``commits``, ``reading``, ``following``, ``consumers``), over the streams
that ``whereabouts`` knows. Does not belong here: wire details. A newcomer would get wrong: the broker's message id is the draft's id
*within its scope*; were it the bare id, one tenant's event could be taken for another's. And which subject an append has follows from what
was said of its memory (``wire.isolations``), never from what is known of streams: a dedicated memory's events are refused sooner than they
are put among those of others.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from kalends.adapters.nats import consumers, erasing, reading, streams, widening
from kalends.adapters.nats.commits import Call, Committer, Entry
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, accepted, decoded
from kalends.adapters.nats.following import Followed, Follower
from kalends.adapters.nats.layout import Placed, is_own, own_subject
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Question, Requests, header_block
from kalends.adapters.nats.whereabouts import Whereabouts
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Unavailable
from kalends.domain.positions import Position, stream_of_own
from kalends.domain.scope import Scope
from kalends.ports.log import Appended, Draft, Message
from kalends.wire.isolations import DEDICATED, Isolations
from kalends.wire.leases import Lease

_ID_LENGTH = 128
_PLACES = 4096
"""Scopes of which it is remembered where their messages go."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NatsLog:
    """The streams of events. Made by ``NatsLog.open``; its commits run in the task group given there."""

    def __init__(
        self, requests: Requests, *, whereabouts: Whereabouts, isolations: Isolations, options: NatsOptions, group: asyncio.TaskGroup
    ) -> None:
        self._requests = requests
        self._isolations = isolations
        self._places: OrderedDict[Scope, _Place] = OrderedDict()
        self._placing = 0
        self._none_placing = asyncio.Event()
        self._none_placing.set()
        self._options = options
        self._group = group
        self._whereabouts = whereabouts
        self._committers: dict[str, Committer] = {}
        self._consumers: set[consumers.NatsConsumer] = set()
        self._closing = False
        self._heads: dict[str, int] = {}
        self._heads_at = float("-inf")
        self._heads_lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        requests: Requests,
        *,
        found: widening.Found,
        isolations: Isolations,
        turn: Lease,
        options: NatsOptions,
        group: asyncio.TaskGroup,
    ) -> AsyncIterator["NatsLog"]:
        """A log whose streams were *found*; at the end what is under way is waited for."""
        whereabouts = Whereabouts(requests, found=found, options=options, settings=streams.event_settings(options), turn=turn)
        log = cls(requests, whereabouts=whereabouts, isolations=isolations, options=options, group=group)
        # a broker of our own has nobody else who could widen its log
        every = options.look_every if options.store is None else None
        watch = group.create_task(whereabouts.watch(every=every), name="nats.whereabouts")
        try:
            yield log
        finally:
            await log._close()
            watch.cancel()

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Appended]:
        """Append *drafts*; returns after the broker has synced them, in the order of *drafts*.

        Raises:
            Throttled: the log is full, or too much waits for it. Invalid, TooLarge: a draft that cannot be sent; nothing was stored.
            Unavailable, DeadlineExceeded: nothing is known of the outcome; repeat with the same ids. Of ``disk``: nothing was stored.
        """
        if not drafts:
            return []
        if self._closing:
            raise self._requests.link.down()
        self._requests.room.need()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.append_timeout
        call = Call(len(drafts), deadline=deadline)
        try:
            async with asyncio.timeout_at(deadline):
                places = {scope: self._places.get(scope) or await self._place(scope) for scope in {draft.scope for draft in drafts}}
                entries = [self._entry(draft, call, index, places[draft.scope]) for index, draft in enumerate(drafts)]
                await self._commit(call, entries)
                while call.moved:
                    call, entries = self._again(call, entries)
                    await self._commit(call, entries)
        except TimeoutError as error:
            if not self._requests.link.connected.is_set():
                raise self._requests.link.down() from error
            raise DeadlineExceeded("nats: no commit in time", dependency=DEPENDENCY, retry_after=RETRY_AFTER) from error
        if call.failure is not None:
            raise call.failure
        return [appended for appended in call.results if appended is not None]

    async def _commit(self, call: Call, entries: Sequence[Entry]) -> None:
        """Hand *entries* to the committers of their streams, and wait until all are settled."""
        by_stream: dict[str, list[Entry]] = {}
        for entry in entries:
            stream = entry.own or self._whereabouts.layout.stream_of(entry.slot) or await self._whereabouts.home_of(entry.slot)
            by_stream.setdefault(stream, []).append(entry)
        for stream, some in by_stream.items():
            self._committer(stream).room(some)
        for stream, some in by_stream.items():
            self._committer(stream).submit(some)
        await call.done

    def _again(self, call: Call, entries: Sequence[Entry]) -> tuple[Call, list[Entry]]:
        """A call with the outcomes that *call* has, and entries anew for the others: their memories are in other streams now."""
        left = [entry for entry in entries if call.results[entry.index] is None]
        renewed = Call(len(call.results), deadline=call.deadline)
        renewed.results, renewed.missing = call.results, len(left)
        return renewed, [replace(entry, call=renewed, followers=[]) for entry in left]

    def _committer(self, stream: str) -> Committer:
        found = self._committers.get(stream)
        if found is None:
            found = Committer(stream, requests=self._requests, options=self._options, group=self._group, whereabouts=self._whereabouts)
            self._committers[stream] = found
        return found

    async def read(self, positions: Sequence[Position]) -> Sequence[Message | None]:
        """The messages at *positions*, None where there is none (any more).

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        if any(position.stream not in self._whereabouts.layout.epochs for position in positions):
            await self._whereabouts.look()
        known = self._whereabouts.layout.epochs
        by_stream: dict[str, list[int]] = {}
        for position in positions:
            if position.stream in known and position.sequence > 0:
                by_stream.setdefault(position.stream, []).append(position.sequence)
        found: dict[tuple[str, int], Message] = {}
        for stream, sequences in by_stream.items():
            unique = sorted(set(sequences))
            confirm = self._options.replicas > 1
            stored = await reading.by_sequence(self._requests, stream, unique, window=self._options.reads_in_flight, confirm=confirm)
            found.update({(stream, one.sequence): self._message(stream, one) for one in stored if one is not None})
        return [found.get((position.stream, position.sequence)) for position in positions]

    async def erase(self, positions: Sequence[Position]) -> int:
        """Take the messages at *positions* out for good; how many were there. Places of other epochs are passed over.

        Raises:
            Unavailable: a replica is away, and would keep what is erased without it. DeadlineExceeded: the broker does not answer; some may
                still be there, and again is safe.
        """
        if any(position.stream not in self._whereabouts.layout.epochs for position in positions):
            await self._whereabouts.look()
        known = self._whereabouts.layout.epochs
        by_stream: dict[str, set[int]] = {}
        for position in positions:
            if known.get(position.stream) == position.epoch and position.sequence > 0:
                by_stream.setdefault(position.stream, set()).add(position.sequence)
        if self._options.replicas > 1:
            for stream in by_stream:
                await erasing.whole(self._requests, stream)
        return sum([await erasing.erase(self._requests, stream, sorted(found)) for stream, found in by_stream.items()])

    async def wash(self, names: Collection[str]) -> None:
        """Have the replicas of the streams *names* write their own logs anew; without replicas there are none.

        Raises:
            Unavailable: a replica is away or behind; again later is safe. DeadlineExceeded: the broker does not answer.
        """
        if self._options.replicas > 1:
            for name in sorted(set(names) & self._whereabouts.layout.epochs.keys()):
                await erasing.wash(self._requests, name)

    @property
    def left_behind(self) -> Mapping[str, int]:
        """Per stream, the sequence up to which there are messages of memories that are in another one now."""
        return self._whereabouts.left_behind

    async def heads(self, *, whole: bool = False) -> Mapping[str, int]:
        """Per stream, the last sequence given out: what was appended here is always in it, what was elsewhere within ``heads_age``.

        Streams that were made elsewhere are known after ``look_every``, unless it is to be *whole*.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        if whole:
            await self._whereabouts.look_at_all()
            self._heads_at = float("-inf")
        async with self._heads_lock:
            loop = asyncio.get_running_loop()
            if loop.time() - self._heads_at > self._options.heads_age:
                started = loop.time()
                infos = await self._infos()
                self._heads = {stream: int(state["last_seq"]) for stream, state in infos.items()}
                self._heads_at = started
        noted = self._whereabouts.heads
        return {stream: max(self._heads.get(stream, 0), noted.get(stream, 0)) for stream in self._whereabouts.layout.names}

    async def has_none(self, *, after: Mapping[str, int], upto: Mapping[str, int]) -> bool:
        """Whether no stream has a message behind *after* up to *upto*, by their leaders' word; no, too, while one does not answer."""
        for stream, end in upto.items():
            if not await self._is_empty(stream, after=after.get(stream, 0), upto=end):
                return False
        return True

    async def follow(self, *, after: Mapping[str, int], limit: int) -> AsyncGenerator[Sequence[Message], None]:
        """Every message after *after*, in stream order, in batches of up to *limit*; an empty one now and then when there is nothing.

        A broker that is away makes empty batches, not an error: nothing is lost by waiting.
        """
        async with Follower(requests=self._requests, options=self._options, after={}, limit=limit) as follower:
            self._whereabouts.on_change(follower.wake)
            try:
                while True:
                    await self._open_places(follower, after)
                    yield [self._followed(one) for one in await follower.take(wait=self._options.idle)]
            finally:
                self._whereabouts.off_change(follower.wake)

    def _followed(self, one: Followed) -> Message:
        return Message(
            position=self._whereabouts.position(one.stream, one.about.sequence),
            body=one.message.data,
            headers=reading.given_headers(one.message),
            recorded_us=one.about.recorded_us,
        )

    async def history(
        self, scope: Scope, *, after: Mapping[str, int], upto: Mapping[str, int], limit: int
    ) -> AsyncGenerator[Sequence[Message], None]:
        """The messages of *scope* behind *after* up to *upto*, in each stream's order, in batches of up to *limit*; it ends.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        place = self._places.get(scope) or await self._place(scope)
        for stream in [place.own] if place.own else sorted(name for name in upto if not is_own(name)):
            start, end, only = {stream: after.get(stream, 0)}, upto.get(stream, 0), place.subject
            async with Follower(requests=self._requests, options=self._options, after=start, limit=limit, filter_subject=only) as follower:
                while not await self._has_none(stream, after=follower.place(stream) or 0, upto=end, subject=only):
                    taken = await follower.take(wait=self._options.idle)
                    if messages := [self._followed(one) for one in taken if one.about.sequence <= end]:
                        yield messages

    async def _open_places(self, follower: Follower, after: Mapping[str, int]) -> None:
        """Have *follower* read the streams that it does not read yet, each once what its memories have elsewhere was handed out."""
        for one in self._whereabouts.layout.streams:
            if follower.place(one.name) is None and (after.get(one.name, 0) or await self._is_next(follower, one)):
                follower.add(one.name, after=after.get(one.name, 0))

    async def _is_next(self, follower: Follower, placed: Placed) -> bool:
        for stream, end in placed.after.items():
            place = follower.place(stream)
            if place is None:
                return False
            if place < end and not (follower.is_quiet(stream) and await self._is_empty(stream, after=place, upto=end)):
                return False
        return bool(placed.slots or placed.memory)

    async def _is_empty(self, stream: str, *, after: int, upto: int) -> bool:
        try:
            return await self._has_none(stream, after=after, upto=upto)
        except (Unavailable, DeadlineExceeded):
            return False

    async def _has_none(self, stream: str, *, after: int, upto: int, subject: str = ">") -> bool:
        """Whether *stream* has no message behind *after* up to *upto* (any more), by its leader's word: the last may have been erased."""
        if after >= upto:
            return True
        following = await reading.from_leader(self._requests, stream, {"seq": after + 1, "next_by_subj": subject})
        return following is None or following.sequence > upto

    async def consumer(self, name: str, *, start: Mapping[str, int] | None = None) -> consumers.NatsConsumer:
        """Open (or make) the durable consumer *name*; *start* is only heeded by a new one.

        Raises:
            Invalid: a name that is not of letters, digits, ``_`` and ``-``. KalendsError: the broker refuses or does not answer.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(f"a consumer cannot be called {name!r}")
        opened = await consumers.open_consumer(
            name,
            whereabouts=self._whereabouts,
            start=start,
            requests=self._requests,
            options=self._options,
            closed=self._consumers.discard,
        )
        self._consumers.add(opened)
        return opened

    async def consumers(self) -> Sequence[str]:
        """The names of all durable consumers, in order.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        await self._whereabouts.look()
        return await consumers.names(streams=self._whereabouts.layout.names, requests=self._requests)

    async def drop_consumer(self, name: str) -> None:
        """Forget a durable consumer; one that does not exist is no error.

        Raises:
            Invalid: a name that no consumer can have. Unavailable, DeadlineExceeded: the broker does not answer.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(f"a consumer cannot be called {name!r}")
        await self._whereabouts.look()  # or it would stay on a stream that we have not found yet
        await consumers.drop_consumer(name, streams=self._whereabouts.layout.names, requests=self._requests)

    async def bytes_stored(self) -> int:
        """Size of the streams of events on disk, in bytes.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        return sum(int(state["bytes"]) for state in (await self._infos()).values())

    async def _infos(self) -> dict[str, dict[str, int]]:
        names = self._whereabouts.layout.names
        questions: list[Question] = [(f"$JS.API.STREAM.INFO.{stream}", b"", b"") for stream in names]
        replies = await self._requests.ask_all(questions, repeat=True)
        infos = {}
        for stream, reply in zip(names, replies, strict=True):
            state = accepted(decoded(reply.data)).get("state")
            infos[stream] = state if isinstance(state, dict) else {}
        return infos

    async def _place(self, scope: Scope) -> "_Place":
        """Where the messages of *scope* are sent; it never changes."""
        self._placing += 1
        self._none_placing.clear()
        try:
            said = await self._isolations.settled(scope.memory_itself)
        finally:
            self._placing -= 1
            if not self._placing:
                self._none_placing.set()
        if said == DEDICATED:
            place = _Place(subject=own_subject(scope), key=scope.key, slot=scope.slot, own=stream_of_own(scope))
        else:
            place = _Place(subject=streams.subject_of(scope), key=scope.key, slot=scope.slot)
        self._places[scope] = place
        if len(self._places) > _PLACES:
            self._places.popitem(last=False)
        return place

    async def dedicate(self, scope: Scope) -> None:
        """Make the stream of a dedicated memory; again changes nothing.

        Raises:
            Throttled: the broker has no room for it. Unavailable, DeadlineExceeded: it is not known whether it was made.
        """
        self._requests.room.need()
        await streams.ensure_own(self._requests, scope, options=self._options)
        await self._whereabouts.look()

    def is_dedicated(self, memory_key: str) -> bool:
        """Whether the memory with this key has a stream of its own, as far as this process knows."""
        return memory_key in self._whereabouts.layout.dedicated

    def _entry(self, draft: Draft, call: Call, index: int, place: "_Place") -> Entry:
        name = draft.message_id
        if not name or len(name) > _ID_LENGTH or not name.isascii() or not name.isprintable() or " " in name:
            raise Invalid("a message id must be 1 to 128 visible ASCII characters")
        headers = header_block(draft.headers) if draft.headers else b""
        self._requests.link.fits(len(draft.body) + len(headers) + 512)
        return Entry(
            subject=place.subject,
            message_id=f"{place.key}.{name}",
            headers=headers,
            body=draft.body,
            call=call,
            index=index,
            slot=place.slot,
            own=place.own,
        )

    def _message(self, stream: str, stored: reading.Stored) -> Message:
        place = self._whereabouts.position(stream, stored.sequence)
        return Message(position=place, body=stored.body, headers=stored.headers, recorded_us=stored.recorded_us)

    async def _close(self) -> None:
        self._closing = True
        try:
            async with asyncio.timeout(self._options.append_timeout):
                await self._none_placing.wait()
                for committer in self._committers.values():
                    await committer.drained()
                await self._whereabouts.at_rest()
        except TimeoutError:
            return  # whoever waits has had, or is about to have, the same deadline
        finally:
            for consumer in tuple(self._consumers):
                try:
                    await consumer.close()
                except KalendsError:
                    continue  # the connection is about to be closed, and with it the subscription


class _Place(NamedTuple):
    """Where the messages of a scope go: subject, what their ids begin with, slot, and the stream if it is the memory's own."""

    subject: str
    key: str
    slot: int
    own: str = ""
