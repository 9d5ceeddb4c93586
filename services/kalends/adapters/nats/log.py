"""The log on JetStream.

Belongs here: the port's operations over the parts that do them (``commits``, ``reading``, ``following``, ``consumers``). Does not belong
here: wire details. A newcomer would get wrong: the broker's message id is the draft's id *within its scope*; were it the bare id,
one tenant's event could be taken for another's.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache

from kalends.adapters.nats import consumers, reading, streams
from kalends.adapters.nats.commits import Call, Committer, Entry
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, accepted, decoded
from kalends.adapters.nats.following import Follower
from kalends.adapters.nats.options import MIB, NatsOptions
from kalends.adapters.nats.requests import Question, Requests, header_block
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Unavailable
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.ports.log import Appended, Draft, Message

_ROOM_SEEN_S = 0.2
"""How long the free space that was seen is relied on; ``room_bytes`` is more than can be written meanwhile."""

_ID_LENGTH = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NatsLog:
    """The streams of events. Made by ``NatsLog.open``; its commits run in the task group given there."""

    def __init__(self, requests: Requests, *, options: NatsOptions, group: asyncio.TaskGroup) -> None:
        self._requests = requests
        self._options = options
        self._streams = streams.event_streams(options.partitions)
        self._committers = {stream: Committer(stream, requests=requests, options=options, group=group) for stream in self._streams}
        self._consumers: list[consumers.NatsConsumer] = []
        self._closing = False
        self._room_seen = float("-inf")
        self._heads: dict[str, int] = {}
        self._heads_at = float("-inf")
        self._heads_lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, requests: Requests, *, options: NatsOptions, group: asyncio.TaskGroup) -> AsyncIterator["NatsLog"]:
        """A log whose streams exist; at the end what is under way is waited for."""
        log = cls(requests, options=options, group=group)
        try:
            yield log
        finally:
            await log._close()

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Appended]:
        """Append *drafts*; returns after the broker has synced them, in the order of *drafts*.

        Raises:
            Throttled: the log is full, or too much waits for it. Invalid, TooLarge: a draft that cannot be sent; nothing was stored.
            Unavailable, DeadlineExceeded: nothing is known of the outcome; repeat with the same ids.
        """
        if not drafts:
            return []
        if self._closing:
            raise self._requests.link.down()
        self._need_room()
        loop = asyncio.get_running_loop()
        call = Call(len(drafts), deadline=loop.time() + self._options.append_timeout)
        by_stream: dict[str, list[Entry]] = {}
        for index, draft in enumerate(drafts):
            stream = self._stream_of(draft.scope)
            by_stream.setdefault(stream, []).append(self._entry(draft, call, index))
        for stream, entries in by_stream.items():
            self._committers[stream].room(entries)
        for stream, entries in by_stream.items():
            self._committers[stream].submit(entries)
        try:
            async with asyncio.timeout_at(call.deadline):
                await call.done
        except TimeoutError as error:
            if not self._requests.link.connected.is_set():
                raise self._requests.link.down() from error
            raise DeadlineExceeded("nats: no commit in time", dependency=DEPENDENCY, retry_after=RETRY_AFTER) from error
        if call.failure is not None:
            raise call.failure
        return [appended for appended in call.results if appended is not None]

    def _need_room(self) -> None:
        store, needed = self._options.store, self._options.room_bytes
        if store is None:
            return
        now = asyncio.get_running_loop().time()
        if now - self._room_seen < _ROOM_SEEN_S:
            return
        free = shutil.disk_usage(store).free
        self._room_seen = now if free >= needed else float("-inf")
        if free < needed:
            detail = f"the disk of the log is full: {free // MIB} MiB free of the {needed // MIB} needed"
            raise Unavailable(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER)

    async def read(self, positions: Sequence[Position]) -> Sequence[Message | None]:
        """The messages at *positions*, None where there is none (any more).

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        by_stream: dict[str, list[int]] = {}
        for position in positions:
            if position.stream in self._committers and position.sequence > 0:
                by_stream.setdefault(position.stream, []).append(position.sequence)
        found: dict[tuple[str, int], Message] = {}
        for stream, sequences in by_stream.items():
            unique = sorted(set(sequences))
            confirm = self._options.replicas > 1
            stored = await reading.by_sequence(self._requests, stream, unique, window=self._options.reads_in_flight, confirm=confirm)
            found.update({(stream, one.sequence): _message(stream, one) for one in stored if one is not None})
        return [found.get((position.stream, position.sequence)) for position in positions]

    async def heads(self) -> Mapping[str, int]:
        """Per stream, the last sequence given out: what was appended here is always in it, what was elsewhere within ``heads_age``.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        async with self._heads_lock:
            loop = asyncio.get_running_loop()
            if loop.time() - self._heads_at > self._options.heads_age:
                started = loop.time()
                infos = await self._infos()
                self._heads = {stream: int(state["last_seq"]) for stream, state in infos.items()}
                self._heads_at = started
        return {stream: max(head, self._committers[stream].last) for stream, head in self._heads.items()}

    async def follow(self, *, after: Mapping[str, int], limit: int) -> AsyncGenerator[Sequence[Message], None]:
        """Every message after *after*, in stream order, in batches of up to *limit*; an empty one now and then when there is nothing.

        A broker that is away makes empty batches, not an error: nothing is lost by waiting.
        """
        places = {stream: after.get(stream, 0) for stream in self._streams}
        async with Follower(requests=self._requests, options=self._options, after=places, limit=limit) as follower:
            while True:
                taken = await follower.take(wait=self._options.idle)
                yield [
                    Message(
                        position=Position(one.stream, one.about.sequence),
                        body=one.message.data,
                        headers=reading.given_headers(one.message),
                        recorded_us=one.about.recorded_us,
                    )
                    for one in taken
                ]

    async def consumer(self, name: str, *, start: Mapping[str, int] | None = None) -> consumers.NatsConsumer:
        """Open (or make) the durable consumer *name*; *start* is only heeded by a new one.

        Raises:
            Invalid: a name that is not of letters, digits, ``_`` and ``-``. KalendsError: the broker refuses or does not answer.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(f"a consumer cannot be called {name!r}")
        opened = await consumers.open_consumer(name, streams=self._streams, start=start, requests=self._requests, options=self._options)
        self._consumers.append(opened)
        return opened

    async def consumers(self) -> Sequence[str]:
        """The names of all durable consumers, in order.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        return await consumers.names(streams=self._streams, requests=self._requests)

    async def drop_consumer(self, name: str) -> None:
        """Forget a durable consumer; one that does not exist is no error.

        Raises:
            Invalid: a name that no consumer can have. Unavailable, DeadlineExceeded: the broker does not answer.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(f"a consumer cannot be called {name!r}")
        await consumers.drop_consumer(name, streams=self._streams, requests=self._requests)

    async def bytes_stored(self) -> int:
        """Size of the streams of events on disk, in bytes.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        return sum(int(state["bytes"]) for state in (await self._infos()).values())

    async def _infos(self) -> dict[str, dict[str, int]]:
        questions: list[Question] = [(f"$JS.API.STREAM.INFO.{stream}", b"", b"") for stream in self._streams]
        replies = await self._requests.ask_all(questions, repeat=True)
        infos = {}
        for stream, reply in zip(self._streams, replies, strict=True):
            state = accepted(decoded(reply.data)).get("state")
            infos[stream] = state if isinstance(state, dict) else {}
        return infos

    def _stream_of(self, scope: Scope) -> str:
        return self._streams[0] if len(self._streams) == 1 else streams.stream_of(scope, partitions=self._options.partitions)

    def _entry(self, draft: Draft, call: Call, index: int) -> Entry:
        name = draft.message_id
        if not name or len(name) > _ID_LENGTH or not name.isascii() or not name.isprintable() or " " in name:
            raise Invalid("a message id must be 1 to 128 visible ASCII characters")
        headers = header_block(draft.headers) if draft.headers else b""
        self._requests.link.fits(len(draft.body) + len(headers) + 512)
        subject, key = _place(draft.scope)
        return Entry(subject=subject, message_id=f"{key}.{name}", headers=headers, body=draft.body, call=call, index=index)

    async def _close(self) -> None:
        self._closing = True
        try:
            async with asyncio.timeout(self._options.append_timeout):
                for committer in self._committers.values():
                    await committer.drained()
        except TimeoutError:
            return  # whoever waits has had, or is about to have, the same deadline
        finally:
            for consumer in self._consumers:
                try:
                    await consumer.close()
                except KalendsError:
                    continue  # the connection is about to be closed, and with it the subscription


@lru_cache(maxsize=4096)
def _place(scope: Scope) -> tuple[str, str]:
    return streams.subject_of(scope), scope.key


def _message(stream: str, stored: reading.Stored) -> Message:
    return Message(position=Position(stream, stored.sequence), body=stored.body, headers=stored.headers, recorded_us=stored.recorded_us)
