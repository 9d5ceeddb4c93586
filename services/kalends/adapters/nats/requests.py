"""Questions to the broker over one inbox: many at once, each with its own answer.

Belongs here: wire frames, and matching answers to questions. Does not belong here: what the answers mean. A newcomer would get wrong: an
answer may come in several messages or not at all, so every wait has a deadline, and a broken connection ends all waits at once. In a
cluster a question to a leader that dies is lost without a word, so what may be asked twice is asked again after a while of silence.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from kalends.adapters.nats.connection import Link
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, answer, translated
from kalends.adapters.nats.room import Room
from kalends.domain.errors import DeadlineExceeded, Invalid, Unavailable
from kalends.kit.backoff import pauses

Question = tuple[str, bytes, bytes]
"""Subject, body, and what ``header_block`` made."""

_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_AGAIN_S = 1.0
"""After so long without an answer what may be repeated is asked again: an answer takes milliseconds, and a lost one never comes."""

_FOR_NOW = (b'"err_code":10008', b'"err_code":10005')
"""Refusals that pass with an election: nobody leads the cluster or the stream; too few nodes are known to be there."""
_DIRECT = "$JS.API.DIRECT."
_REMOVALS = ("$JS.API.STREAM.MSG.DELETE.", "$JS.API.STREAM.PURGE.")
"""What takes away is written too: a removal is overwritten and noted."""
HEADER_LINE = b"NATS/1.0\r\n"
_NAME = re.compile(r"[!-9;-~]+")
_VALUE = re.compile(r"[^\r\n\0]*")


def frame(subject: str, body: bytes, *, reply: str = "", headers: bytes = b"") -> bytes:
    """One message for the wire. *headers* is what ``header_block`` made, or nothing."""
    target = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"PUB %s %d\r\n%s\r\n" % (target.encode(), len(body), body)
    size = len(headers) + len(HEADER_LINE) + 2
    return b"HPUB %s %d %d\r\n%s%s\r\n%s\r\n" % (target.encode(), size, size + len(body), HEADER_LINE, headers, body)


def header_block(headers: Mapping[str, str]) -> bytes:
    """Header lines for the wire.

    Raises:
        Invalid: a name or a value cannot be in a header, or the name is the broker's (``Nats-``).
    """
    lines = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower().startswith("nats-"):
            raise Invalid("a header that cannot be sent")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()


def release(futures: Sequence[asyncio.Future[Msg]]) -> None:
    """Give up what is still awaited; a failure that nobody awaited is not worth a warning."""
    for future in futures:
        if not future.cancel() and not future.cancelled():
            future.exception()


class Requests:
    """Asks the broker; made by ``open_requests``, one for each connection."""

    def __init__(self, link: Link, *, timeout: float, room: Room | None = None) -> None:
        self.link = link
        self.room = room or Room(None)
        self._timeout = timeout
        self._prefix = link.client.new_inbox()
        self._numbers = count(1)
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._subscription: Subscription | None = None
        link.on_break(self._fail_all)

    async def open(self) -> None:
        """Start to listen for answers."""
        with translated():
            self._subscription = await self.link.client.subscribe(f"{self._prefix}.*", cb=self._arrived, pending_msgs_limit=0)

    def expect(self) -> tuple[str, asyncio.Future[Msg]]:
        """A reply subject and the future of what arrives there; cancel the future to give up."""
        key = str(next(self._numbers))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        future.add_done_callback(lambda _: self._waiting.pop(key, None))
        return f"{self._prefix}.{key}", future

    async def ask(self, subject: str, body: bytes = b"", *, headers: bytes = b"", repeat: bool = False, within: float | None = None) -> Msg:
        """The answer to one question; see ``ask_all``."""
        return (await self.ask_all([(subject, body, headers)], repeat=repeat, within=within))[0]

    async def ask_all(self, questions: Sequence[Question], *, repeat: bool = False, within: float | None = None) -> list[Msg]:
        """The answers to all *questions*, sent in one piece and in order.

        With *repeat* they are asked again if the connection breaks, nobody leads what they are about, or there is no answer for a while.
        *within* is a deadline in seconds that is shorter than the usual one.

        Raises:
            DeadlineExceeded: one did not come in time. Unavailable: there is no connection, it broke, or nobody listens; or something would
                be written, and the broker has no room.
        """
        if any(_writes(subject) for subject, _, _ in questions):
            self.room.need_spare()
        async with self._trying(within) as said:
            for wait in pauses(first=_PAUSE, longest=_LONGEST_PAUSE):
                # While the connection is away, waiting for it is cheaper for all than failing and being asked again.
                await self.link.connected.wait()
                try:
                    return await self._exchange(questions, repeat=repeat)
                except Unavailable as error:
                    if not repeat:
                        raise
                    said.append(error)
                await asyncio.sleep(wait)
        raise AssertionError("pauses never end")

    @asynccontextmanager
    async def _trying(self, within: float | None = None) -> AsyncIterator[deque[Unavailable]]:
        """As ``in_time``; once the time is over, the last error that was noted is raised, which says more than that."""
        said: deque[Unavailable] = deque(maxlen=1)
        try:
            async with self.in_time(within):
                yield said
        except DeadlineExceeded as error:
            if not said:
                raise
            raise said[0] from error

    @asynccontextmanager
    async def in_time(self, seconds: float | None = None) -> AsyncIterator[None]:
        """The block has *seconds*, or the time for one question.

        Raises:
            DeadlineExceeded: the time is over. Unavailable: it is over, and there is no connection.
        """
        begun_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout if seconds is None else min(seconds, self._timeout)):
                yield
        except TimeoutError as error:
            await self.link.unanswered(since=begun_at)
            if not self.link.connected.is_set():
                raise self.link.down() from error
            raise DeadlineExceeded("nats: no answer in time", dependency=DEPENDENCY, retry_after=RETRY_AFTER) from error

    async def _exchange(self, questions: Sequence[Question], *, repeat: bool) -> list[Msg]:
        expected = [self.expect() for _ in questions]
        futures = [future for _, future in expected]
        try:
            frames = [
                frame(subject, body, reply=reply, headers=headers)
                for (subject, body, headers), (reply, _) in zip(questions, expected, strict=True)
            ]
            await self.link.send(b"".join(frames), messages=len(frames))
            if repeat:
                await self._persist(frames, futures)
            # One after the other: they come in this order anyway, and a wait on what is already there costs nothing.
            answers = [await future for future in futures]
        finally:
            release(futures)
        if any(status(message) == 503 and not message.data for message in answers):
            raise Unavailable("nats: nobody answers there", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
        if repeat:
            for (subject, _, _), message in zip(questions, answers, strict=True):
                if _of_leader(subject) and _is_for_now(message):
                    answer(message.data)
        return answers

    async def _persist(self, frames: Sequence[bytes], futures: Sequence[asyncio.Future[Msg]]) -> None:
        """Wait for all answers; what is not answered for a while is sent again under the same name, and the first answer counts."""
        for future in futures:
            while not future.done():
                await asyncio.wait({future}, timeout=_AGAIN_S)
                if not future.done():
                    again = [one for one, awaited in zip(frames, futures, strict=True) if not awaited.done()]
                    await self.link.send(b"".join(again), messages=len(again))

    async def api(self, operation: str, body: bytes = b"", *, repeat: bool = False) -> dict[str, object]:
        """The answer to a request of the JetStream API, such as ``STREAM.INFO.EVENTS_0``.

        Raises:
            KalendsError: the broker refuses, or does not answer.
        """
        return answer((await self.ask(f"$JS.API.{operation}", body, repeat=repeat)).data)

    async def change(self, operation: str, body: bytes, *, may: Callable[[], bool]) -> dict[str, object]:
        """The answer to a request of the JetStream API that must not be repeated while the first may still be carried out.

        Only a refusal that passes with an election says that nothing was done and nothing will be; after one it is asked again while *may*.

        Raises:
            KalendsError: the broker refuses, or does not answer.
        """
        async with self._trying() as refused:
            for wait in pauses(first=_PAUSE, longest=_LONGEST_PAUSE):
                message = await self.ask(f"$JS.API.{operation}", body)
                try:
                    return answer(message.data)
                except Unavailable as error:
                    if not _is_for_now(message) or not may():
                        raise
                    refused.append(error)
                await asyncio.sleep(wait)
        raise AssertionError("pauses never end")

    async def _arrived(self, message: Msg) -> None:
        # a direct get, which has headers, is answered by any replica, and so by one that has lost the others
        if not message.headers and not _is_for_now(message):
            self.link.answered()
        future = self._waiting.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message)

    def _fail_all(self) -> None:
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(Unavailable("nats: connection lost", dependency=DEPENDENCY, retry_after=RETRY_AFTER))


class Inbox:
    """A subscription of our own, to ``<subject>.*``, whose messages wait here to be taken. Nothing limits them but what was asked for."""

    def __init__(self, link: Link) -> None:
        self.subject = link.client.new_inbox()
        self._link = link
        self._messages: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._subscription: Subscription | None = None
        self.breaks = 0
        """How often the connection broke since it was opened; whoever asked before must ask again."""
        link.on_break(self._broke)

    async def open(self) -> None:
        """Start to listen."""
        with translated():
            self._subscription = await self._link.client.subscribe(
                f"{self.subject}.*", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def close(self) -> None:
        """Stop to listen; what still waits is dropped."""
        self._link.off_break(self._broke)
        if self._subscription is not None and not self._link.client.is_closed:
            with translated():
                await self._subscription.unsubscribe()

    async def end(self) -> None:
        """Stop to listen, and return once all that was sent here is here to be taken.

        Raises:
            Unavailable, DeadlineExceeded: the connection broke; some of it may be lost.
        """
        self._link.off_break(self._broke)
        if self._subscription is None or self._link.client.is_closed:
            return
        # a flush overtakes what the client still buffers, so only what the second one brings comes after the broker has heard
        await self._link.send(b"UNSUB %d\r\n" % self._subscription._id, messages=0)  # noqa: SLF001 - nats-py's drain waits for one flush only
        with translated():
            await self._link.client.flush()
            await self._link.client.flush()
            await self._subscription.drain()  # type: ignore[no-untyped-call]

    @property
    def waiting(self) -> int:
        """How many messages wait to be taken."""
        return len(self._messages)

    def replies(self) -> list[str]:
        """Where the messages that wait want their answers; what wants none is passed over."""
        return [message.reply for message in self._messages if message.reply]

    async def take(self, *, wait: float) -> Msg | None:
        """The next message, or None if none comes within *wait* seconds or the connection breaks."""
        if not self._messages:
            self._news.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                return None
        return self._messages.popleft() if self._messages else None

    def wake(self) -> None:
        """End a wait of ``take`` without a message."""
        self._news.set()

    def take_now(self) -> Msg | None:
        """A message that is already here, or None."""
        return self._messages.popleft() if self._messages else None

    async def _arrived(self, message: Msg) -> None:
        self._messages.append(message)
        self._news.set()

    def _broke(self) -> None:
        self.breaks += 1
        self._news.set()


def _writes(subject: str) -> bool:
    """Whether something is stored or taken away: what goes to no address of JetStream's goes into a stream."""
    return subject.startswith(_REMOVALS) if subject.startswith("$JS.") else True


def _of_leader(subject: str) -> bool:
    return subject.startswith("$JS.API.") and not subject.startswith(_DIRECT)


def _is_for_now(message: Msg) -> bool:
    start = message.data[:400]
    return any(code in start for code in _FOR_NOW)


def status(message: Msg) -> int:
    """The status that the broker put in the header line, such as 404; 0 for a message proper."""
    if not message.headers:
        return 0
    text = message.headers.get("Status", "")
    return int(text) if text.isdigit() and "Nats-Sequence" not in message.headers else 0
