"""Following streams in order with consumers that may be lost at any time.

Belongs here: ephemeral readers that are made anew wherever they stopped. Does not belong here: durable consumers (``consumers``). A
newcomer would get wrong: the place to go on from is the last message handed out, never what a consumer of the broker remembers.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from nats.aio.msg import Msg

from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.reading import Delivered, consumer_of, delivered
from kalends.adapters.nats.requests import Inbox, Requests, frame, status
from kalends.domain.errors import DeadlineExceeded, KalendsError, NotFound, Unavailable

_SECOND = 1_000_000_000
_SILENCE = 3.0
"""So many times the life of a question without a word, and the consumer is taken for lost."""
_PAUSE = 0.05
_TIMED_OUT = 408


@dataclass(slots=True)
class _Place:
    """Where one stream is read: the last sequence handed out, and the consumer that reads on from there, if there is one now."""

    stream: str
    after: int
    consumer: str | None = None
    number: int = 0
    credit: int = 0
    heard: float = 0.0
    breaks: int = -1
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A message in order, with what its delivery says."""

    stream: str
    message: Msg
    about: Delivered


@dataclass(slots=True)
class Follower:
    """Reads streams from given places on, in each stream's order; use ``open`` and ``close``, or the reader's own context manager."""

    requests: Requests
    options: NatsOptions
    after: Mapping[str, int]
    limit: int
    filter_subject: str = ""
    newest_only: bool = False
    """Begin with the newest message of each subject instead of with all that come after the given place."""
    _places: dict[str, _Place] = field(default_factory=dict)
    _inbox: Inbox | None = None
    _woken: bool = False

    async def __aenter__(self) -> Self:
        self._places = {stream: _Place(stream, sequence) for stream, sequence in self.after.items()}
        self._inbox = Inbox(self.requests.link)
        await self._inbox.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.close()
        for place in self._places.values():
            if place.consumer and self.requests.link.connected.is_set():
                await _drop(self.requests, place.stream, place.consumer)

    def add(self, stream: str, *, after: int) -> None:
        """Read *stream*, too, from behind *after* on."""
        self._places[stream] = _Place(stream, after)

    def place(self, stream: str) -> int | None:
        """The last sequence of *stream* that was handed out; None if it is not read here."""
        found = self._places.get(stream)
        return None if found is None else found.after

    def is_quiet(self, stream: str) -> bool:
        """Whether *stream* had no more when last heard of."""
        found = self._places.get(stream)
        return found is not None and found.consumer is not None and found.pending == 0

    def wake(self) -> None:
        """End the wait of ``take``: there is something else to look at."""
        self._woken = True
        if self._inbox is not None:
            self._inbox.wake()

    @property
    def caught_up(self) -> bool:
        """Whether every stream has a consumer and none had more when last heard of."""
        return all(place.consumer is not None and place.pending == 0 for place in self._places.values())

    async def ready(self) -> None:
        """Make the consumers that are missing, so that ``caught_up`` is an answer."""
        await self._ask()

    async def take(self, *, wait: float) -> list[Followed]:
        """Up to ``limit`` messages; empty after *wait* seconds without one, or while the broker is away, or when woken."""
        assert self._inbox is not None  # noqa: S101 - a reader is used inside its context
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        taken: list[Followed] = []
        while not taken and not self._woken and (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._ask()
            except (Unavailable, DeadlineExceeded, NotFound, TimeoutError):
                # The broker is away or its consumer is; the places are known, so there is nothing to do but to ask again.
                await asyncio.sleep(min(left, _PAUSE))
                continue
            message = await self._inbox.take(wait=min(left, self.options.idle))
            while message is not None:
                self._sort(message, taken)
                message = self._inbox.take_now() if len(taken) < self.limit else None
        self._woken = False
        return taken

    def _sort(self, message: Msg, taken: list[Followed]) -> None:
        """Put a message where it belongs: handed out, or dropped because it is out of order or a mere status."""
        place = self._place_of(message)
        if place is None:
            return
        place.heard = asyncio.get_running_loop().time()
        code = status(message)
        if code == _TIMED_OUT:
            place.pending = 0
            place.credit -= int((message.headers or {}).get("Nats-Pending-Messages", place.credit))
        elif code:
            place.consumer = None
        else:
            about = delivered(message.reply)
            place.credit -= 1
            if about.number != place.number + 1:
                place.consumer = None  # one was lost on the way
                return
            place.number, place.after, place.pending = about.number, about.sequence, about.pending
            taken.append(Followed(stream=place.stream, message=message, about=about))

    def _place_of(self, message: Msg) -> _Place | None:
        """The place whose present consumer *message* is from: an old consumer's late messages are nobody's."""
        name = consumer_of(message)
        return next((place for place in self._places.values() if place.consumer == name), None)

    async def _ask(self) -> None:
        """See to it that every stream has a consumer with an open question."""
        assert self._inbox is not None  # noqa: S101 - a reader is used inside its context
        now = asyncio.get_running_loop().time()
        for place in tuple(self._places.values()):
            silent = not self._inbox.waiting and now - place.heard > self.options.idle * _SILENCE
            if place.consumer is None or place.breaks != self._inbox.breaks or silent:
                await self._renew(place)
            if place.credit < self.limit:
                ask = {"batch": self.limit, "expires": int(self.options.idle * _SECOND)}
                target = f"$JS.API.CONSUMER.MSG.NEXT.{place.stream}.{place.consumer}"
                reply = f"{self._inbox.subject}.{place.consumer}"
                await self.requests.link.send(frame(target, json.dumps(ask).encode(), reply=reply), messages=1)
                place.credit += self.limit

    async def _renew(self, place: _Place) -> None:
        assert self._inbox is not None  # noqa: S101 - a reader is used inside its context
        breaks, old = self._inbox.breaks, place.consumer
        place.consumer = None
        config: dict[str, object] = {
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 30 * _SECOND,
        }
        if self.newest_only and not place.after:
            config["deliver_policy"] = "last_per_subject"
        else:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": place.after + 1}
        if self.filter_subject:
            config["filter_subject"] = self.filter_subject
        if old:
            await _drop(self.requests, place.stream, old)
        # named by us, so that asking again makes no second one: where a leader has just died the first question is lost
        name = config["name"] = secrets.token_hex(8)
        body = json.dumps({"stream_name": place.stream, "config": config}).encode()
        made = await self.requests.api(f"CONSUMER.CREATE.{place.stream}.{name}", body, repeat=True)
        pending = made.get("num_pending", 0)
        place.consumer = name
        place.number, place.credit, place.breaks = 0, 0, breaks
        place.pending = pending if isinstance(pending, int) else 0
        place.heard = asyncio.get_running_loop().time()


async def _drop(requests: Requests, stream: str, consumer: str) -> None:
    try:
        await requests.api(f"CONSUMER.DELETE.{stream}.{consumer}")
    except KalendsError:
        return  # it ends by itself when nobody asks it any more
