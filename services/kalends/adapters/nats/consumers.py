"""Durable consumers: one name on every stream of events, also on those that come to be, explicit acks, bounded redelivery.

Belongs here: fetching, settling and states. Does not belong here: what a worker does about a failure. A newcomer would get wrong: a message
that was delivered too often is not pending any more, so lag alone never shows dead letters; and in the broker the first wait of
``backoff`` takes the place of ``ack_wait``.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count

from nats.aio.msg import Msg

from kalends.adapters.nats.failures import NO_CONSUMER, accepted, decoded, refusal_code
from kalends.adapters.nats.layout import Layout
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.reading import consumer_of, delivered, given_headers
from kalends.adapters.nats.requests import Inbox, Question, Requests, frame, status
from kalends.adapters.nats.whereabouts import Whereabouts
from kalends.domain.errors import Conflict, DeadlineExceeded, Unavailable
from kalends.domain.positions import Position
from kalends.ports.log import ConsumerState, Delivery, Message

_SECOND = 1_000_000_000
_ACK = b"+ACK"
_NAK = b"-NAK"
_WORKING = b"+WPI"
_GATHER = 0.005
"""After the first message of a fetch, the longest silence until it is handed out; a backlog arrives without such gaps."""
_PAUSE = 0.05
_KEEPS = 4
"""So often within the time to ack it is looked what is in hand; what was so the last time too is kept, before half the time is over."""
_LATE = 0.5
"""After the time of a question is over, how long until it is certain that the broker has seen so too: its clock began a little later."""
_OVER = (404, 408)
"""Nothing came, or not in time. Any other status is a refusal, such as that too many questions wait or that the consumer is gone."""

_ACKS_KEPT = 16_384
_ACKS_AGE = 10.0


class NatsDelivery:
    """A message under way; settled over the connection that it came by, or by any later one."""

    __slots__ = ("_acks", "_requests", "attempt", "message", "reply", "settled")

    def __init__(self, stream: str, received: Msg, *, epoch: int, requests: Requests, acks: "RecentAcks") -> None:
        about = delivered(received.reply)
        self.reply = received.reply
        self.attempt = about.attempt
        self.settled = False
        self._requests = requests
        self._acks = acks
        self.message = Message(
            position=Position(stream, about.sequence, epoch),
            body=received.data,
            headers=given_headers(received),
            recorded_us=about.recorded_us,
        )

    async def ack(self) -> None:
        """Done, and the broker knows it.

        Raises:
            Conflict: it was settled before. Unavailable, DeadlineExceeded: it may come again.
        """
        self.settle_once()
        self._acks.note([self.reply])
        await self._requests.ask(self.reply, _ACK)

    async def retry(self, *, after: float) -> None:
        """Deliver it again after *after* seconds.

        Raises:
            Conflict: it was settled before. Unavailable, DeadlineExceeded: it comes again when its time to be acked is over.
        """
        self.settle_once()
        await self._requests.ask(self.reply, b'-NAK {"delay": %d}' % max(0, int(after * _SECOND)))

    async def reject(self, *, reason: str) -> None:
        """Never deliver it again; *reason* ends up in the pointer among the dead letters.

        Raises:
            Conflict: it was settled before. Unavailable, DeadlineExceeded: it may come again.
        """
        self.settle_once()
        clean = "".join(character if character.isprintable() else " " for character in reason)[:200]
        await self._requests.ask(self.reply, b"+TERM " + clean.encode("utf-8", "replace"))

    def settle_once(self) -> None:
        """Take note that it is being settled.

        Raises:
            Conflict: it was settled before.
        """
        if self.settled:
            raise Conflict("this delivery was settled before")
        self.settled = True


class RecentAcks:
    """The acks of the last seconds, to be repeated when the connection comes back.

    The broker writes acks down some time after it has answered them. One that is killed before (and has no replica) takes their messages
    for under way and would wait for them until the time to ack is over, and all that while the floor would be wrong.
    """

    def __init__(self) -> None:
        self._acks: deque[tuple[float, str]] = deque(maxlen=_ACKS_KEPT)

    def note(self, replies: Iterable[str]) -> None:
        """Remember that these are being acked."""
        now = asyncio.get_running_loop().time()
        self._acks.extend((now, reply) for reply in replies)
        while self._acks and self._acks[0][0] < now - _ACKS_AGE:
            self._acks.popleft()

    def replies(self) -> list[str]:
        """What was acked of late."""
        return [reply for _, reply in self._acks]


@dataclass(slots=True)
class _Question:
    """What was asked of a stream: its number, for how many messages, how many may still come, and until when (the loop's time)."""

    number: int
    asked: int
    left: int
    ends: float

    @property
    def has_some(self) -> bool:
        """Whether any has come."""
        return self.left < self.asked


class NatsConsumer:
    """A durable consumer of all streams of events; made by ``NatsLog.consumer``."""

    def __init__(
        self,
        name: str,
        *,
        layout: Layout,
        whereabouts: Whereabouts,
        requests: Requests,
        options: NatsOptions,
        inbox: Inbox,
        closed: Callable[["NatsConsumer"], None],
    ) -> None:
        """*closed* is told of this one when it is closed."""
        self._closed: Callable[[NatsConsumer], None] | None = closed
        self._name = name
        self._whereabouts = whereabouts
        self._layout = layout
        self._streams = list(layout.names)
        self._requests = requests
        self._options = options
        self._inbox = inbox
        self._ready: deque[NatsDelivery] = deque()
        self._open: dict[str, _Question] = {}
        self._busy: set[str] = set()
        self._numbers = count(1)
        self._refused = False
        self._acks = RecentAcks()
        self._breaks = 0
        self._paused = False

    async def fetch(self, *, limit: int, wait: float) -> Sequence[Delivery]:
        """Up to *limit* deliveries; empty after *wait* seconds without any, also while the broker is away.

        Raises:
            Unavailable: the broker is away for longer than *wait*. NotFound: the consumer was dropped.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while not self._ready and (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._requests.link.connected.wait()
                    await self._ask(limit, wait=left)
            except TimeoutError:
                if not self._requests.link.connected.is_set():
                    raise self._requests.link.down() from None
                break
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(min(left, _PAUSE))
                continue
            ends = max((question.ends for question in self._open.values()), default=end)
            self._sort(await self._inbox.take(wait=max(0.0, min(left, ends - loop.time() + _PAUSE))))
            if self._refused:
                self._refused = False
                await asyncio.sleep(max(0.0, min(end - loop.time(), _PAUSE)))
        while self._ready and len(self._ready) < limit:
            message = self._inbox.take_now() or await self._inbox.take(wait=_GATHER)
            if message is None:
                break
            self._sort(message)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Ack many: all are sent at once, and the last one of each stream is confirmed, and with it those before it.

        Raises:
            Unavailable, DeadlineExceeded: some may come again.
        """
        ours = [delivery for delivery in deliveries if isinstance(delivery, NatsDelivery) and not delivery.settled]
        last = {delivery.message.position.stream: delivery for delivery in ours}
        final = {id(delivery) for delivery in last.values()}
        plain = [delivery for delivery in ours if id(delivery) not in final]
        for delivery in ours:
            delivery.settle_once()
        self._acks.note(delivery.reply for delivery in ours)
        try:
            if plain:
                await self._requests.link.send(b"".join(frame(delivery.reply, _ACK) for delivery in plain), messages=len(plain))
            if last:
                await self._requests.ask_all([(delivery.reply, _ACK, b"") for delivery in last.values()])
        except asyncio.CancelledError:
            # who knows whether they were sent: whoever ends may still hand them back, and that does nothing to one that was acked
            for delivery in ours:
                delivery.settled = False
            raise

    async def keep(self, in_hand: Callable[[], Iterable[Delivery]]) -> None:
        """Until cancelled, have nobody else get what *in_hand* tells of and is not settled, nor what was sent here and not fetched."""
        before: set[str] = set()
        while True:
            await asyncio.sleep(min((self._options.ack_wait, *self._options.redelivery)) / _KEEPS)
            ours = chain(self._ready, (one for one in in_hand() if isinstance(one, NatsDelivery) and not one.settled))
            now = {*self._inbox.replies(), *(delivery.reply for delivery in ours)}
            # most is done by the next time, and costs no word
            kept = now & before
            before = now
            if kept:
                with suppress(Unavailable, DeadlineExceeded):  # the fetch beside this says so, and what comes twice changes nothing
                    await self._requests.link.send(b"".join(frame(reply, _WORKING) for reply in kept), messages=len(kept))

    async def states(self) -> Sequence[ConsumerState]:
        """How far it is on each stream.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not say. NotFound: the consumer was dropped.
        """
        await self._grow()
        # The heads are asked for first: what was the head before the consumer said "nothing is left" has been dealt with.
        questions: list[Question] = [(f"$JS.API.STREAM.INFO.{stream}", b"", b"") for stream in self._streams]
        questions += [(f"$JS.API.CONSUMER.INFO.{stream}.{self._name}", b"", b"") for stream in self._streams]
        replies = [accepted(decoded(reply.data)) for reply in await self._requests.ask_all(questions, repeat=True)]
        count = len(self._streams)
        return [state_of(stream, replies[number], replies[count + number]) for number, stream in enumerate(self._streams)]

    async def pause(self) -> None:
        """Have nothing more sent here until the next ``fetch``; what was sent and not fetched comes again at once, to whoever asks.

        In a cluster it takes as long as the last ``fetch`` may wait: that a subscription ends is heard by the other nodes only later, and
        what one of them sends until then would be lost until its time to be acked is over. So the questions are let run out first.

        Raises:
            Unavailable, DeadlineExceeded: it comes again when its time to be acked is over.
        """
        if self._paused:
            return
        self._paused = True
        if self._requests.link.in_cluster:
            await self._run_out()
        left, self._inbox = self._inbox, Inbox(self._requests.link)
        # acks that the broker may have forgotten are repeated with the next question, as after any break
        self._breaks = -1 if left.breaks != self._breaks else 0
        self._open.clear()
        await left.end()
        while (message := left.take_now()) is not None:
            self._sort(message)
        unfetched = list(self._ready)
        self._ready.clear()
        self._refused = False
        for delivery in unfetched:
            delivery.settle_once()
        if unfetched:
            await self._requests.ask_all([(delivery.reply, _NAK, b"") for delivery in unfetched])

    async def _run_out(self) -> None:
        """Take what comes until no question is open, or none can be any more."""
        loop = asyncio.get_running_loop()
        while self._breaks == self._inbox.breaks:
            ends = [question.ends for question in self._open.values() if question.left > 0]
            if not ends or (left := max(ends) + _LATE - loop.time()) <= 0:
                return
            self._sort(await self._inbox.take(wait=left))

    def wake(self) -> None:
        """Look up from the wait for messages: there are other streams now, and nothing was asked of them."""
        self._inbox.wake()

    async def close(self) -> None:
        """Stop to fetch; what was fetched and not settled comes again to whoever fetches next. Once is enough."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        self._whereabouts.off_change(self.wake)
        closed(self)
        await self._inbox.close()

    def _sort(self, message: Msg | None) -> None:
        if message is None:
            return
        if not status(message):
            stream = stream_of_reply(message.reply)
            epoch = self._whereabouts.layout.epochs[stream]
            self._ready.append(NatsDelivery(stream, message, epoch=epoch, requests=self._requests, acks=self._acks))
            question = self._open.get(stream)
            self._busy.add(stream)
            if question is not None:
                question.left -= 1
            return
        # Whatever the reason (time is over, limit of the batch, consumer moved), that question is closed and the next fetch asks anew. It
        # says nothing of a newer question: were that closed too, two would be open from then on, and later three, until the broker is full.
        stream, _, number = consumer_of(message).rpartition("-")
        question = self._open.get(stream)
        if question is not None and str(question.number) == number:
            del self._open[stream]
            if not question.has_some:
                self._busy.discard(stream)
            self._refused = status(message) not in _OVER

    async def _ask(self, limit: int, *, wait: float) -> None:
        """Open a question on every stream that has none."""
        if self._paused:
            await self._inbox.open()
            self._paused = False
        await self._grow()
        now = asyncio.get_running_loop().time()
        frames: list[bytes] = []
        if self._breaks != self._inbox.breaks:
            self._breaks = self._inbox.breaks
            self._open.clear()
            frames += [frame(reply, _ACK) for reply in self._acks.replies()]
        # whoever had something last time shares the limit with the others who had, or one long backlog would come in crumbs
        small, large = (max(1, -(-limit // parts)) for parts in (len(self._streams), max(1, len(self._busy))))
        for stream in self._streams:
            question = self._open.get(stream)
            if question is not None and question.left > 0 and question.ends > now:
                continue
            share = large if stream in self._busy else small
            ask = {"batch": share, "expires": max(1_000_000, int(wait * _SECOND))}
            target = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{self._name}"
            number = next(self._numbers)
            frames.append(frame(target, json.dumps(ask).encode(), reply=f"{self._inbox.subject}.{stream}-{number}"))
            self._open[stream] = _Question(number=number, asked=share, left=share, ends=now + wait)
        if frames:
            await self._requests.link.send(b"".join(frames), messages=len(frames))

    async def _grow(self) -> None:
        """Have the consumer on the streams that were found since, from their beginning; whoever finds them first makes it there.

        Raises:
            NotFound: it was dropped; made on new streams alone it would be half a consumer, and nobody's.
        """
        layout = self._whereabouts.layout
        if layout is self._layout:
            return
        await self._requests.api(f"CONSUMER.INFO.{self._streams[0]}.{self._name}", repeat=True)
        for stream in layout.names:
            if stream not in self._streams:
                await _ensure(self._name, stream, after=None, requests=self._requests, options=self._options, alone=False)
                if stream not in self._streams:  # somebody else of this process may have been as quick
                    self._streams.append(stream)
        self._layout = layout


def stream_of_reply(reply: str) -> str:
    """The stream that a delivery came from, by its reply subject."""
    tokens = reply.split(".")
    return tokens[2 if len(tokens) == 9 else 4]


def state_of(stream: str, stream_info: Mapping[str, object], consumer_info: Mapping[str, object]) -> ConsumerState:
    """The state that the broker's two answers mean."""
    head = _number(stream_info.get("state"), "last_seq")
    floor = _number(consumer_info.get("ack_floor"), "stream_seq")
    pending, in_flight = _number(consumer_info, "num_pending"), _number(consumer_info, "num_ack_pending")
    if pending == 0 and in_flight == 0:
        floor = max(floor, head)
    return ConsumerState(stream=stream, floor=floor, pending=pending, in_flight=in_flight)


def _number(source: object, key: str) -> int:
    value = source.get(key, 0) if isinstance(source, Mapping) else 0
    return value if isinstance(value, int) else 0


async def open_consumer(
    name: str,
    *,
    whereabouts: Whereabouts,
    start: Mapping[str, int] | None,
    requests: Requests,
    options: NatsOptions,
    closed: Callable[[NatsConsumer], None],
) -> NatsConsumer:
    """Make what is missing of the durable consumer *name* and open it; *closed* is told when it is closed."""
    layout = whereabouts.layout
    for stream in layout.names:
        after = None if start is None else start.get(stream, 0)
        await _ensure(name, stream, after=after, requests=requests, options=options, alone=options.sole_reader)
    inbox = Inbox(requests.link)
    await inbox.open()
    opened = NatsConsumer(name, layout=layout, whereabouts=whereabouts, requests=requests, options=options, inbox=inbox, closed=closed)
    whereabouts.on_change(opened.wake)
    return opened


async def _ensure(name: str, stream: str, *, after: int | None, requests: Requests, options: NatsOptions, alone: bool) -> None:
    """Where it begins is only said to a new one; an old one keeps its place and gets the settings of today."""
    settings: dict[str, object] = {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": int(options.ack_wait * _SECOND),
        "max_deliver": options.max_deliver,
        "backoff": [int(seconds * _SECOND) for seconds in options.redelivery],
        "max_ack_pending": options.max_ack_pending,
        "replay_policy": "instant",
        "deliver_policy": "all",
    }
    if after:
        settings |= {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
    reply = decoded((await requests.ask(f"$JS.API.CONSUMER.INFO.{stream}.{name}", repeat=True)).data)
    if refusal_code(reply) != NO_CONSUMER:
        current = accepted(reply).get("config")
        assert isinstance(current, dict)  # noqa: S101 - the broker's own answer
        settings = {**current, **{key: settings[key] for key in ("ack_wait", "max_deliver", "backoff", "max_ack_pending")}}
        if alone:
            await requests.api(f"CONSUMER.RESET.{stream}.{name}", repeat=True)
        if settings == current:
            return
    body = json.dumps({"stream_name": stream, "config": settings}).encode()
    await requests.api(f"CONSUMER.CREATE.{stream}.{name}", body, repeat=True)


async def names(*, streams: Sequence[str], requests: Requests) -> list[str]:
    """The names of the durable consumers of *streams*; the broker tells a page at a time."""
    found: set[str] = set()
    for stream in streams:
        offset = total = 0
        while offset == 0 or offset < total:
            answer = await requests.api(f"CONSUMER.NAMES.{stream}", json.dumps({"offset": offset}).encode(), repeat=True)
            page = answer.get("consumers")
            told = page if isinstance(page, list) else []
            found |= set(told)
            total, offset = _number(answer, "total"), offset + len(told)
            if not told:
                break
    return sorted(found)


async def drop_consumer(name: str, *, streams: Sequence[str], requests: Requests) -> None:
    """Forget the durable consumer *name*."""
    for stream in streams:
        reply = decoded((await requests.ask(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", repeat=True)).data)
        if refusal_code(reply) != NO_CONSUMER:
            accepted(reply)
