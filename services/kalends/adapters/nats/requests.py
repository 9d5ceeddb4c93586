"""Questions to the broker over one inbox: many at once, each with its own answer.

Belongs here: wire frames, and matching answers to questions. Does not belong here: what the answers mean. A newcomer would get wrong: an
answer may come in several messages or not at all, so every wait has a deadline, and a broken connection ends all waits at once.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from kalends.adapters.nats.connection import Link
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, answer, translated
from kalends.domain.errors import DeadlineExceeded, Invalid, Unavailable

Question = tuple[str, bytes, bytes]
"""Subject, body, and what ``header_block`` made."""

_PAUSE = 0.05
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

    def __init__(self, link: Link, *, timeout: float) -> None:
        self.link = link
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

    async def ask(self, subject: str, body: bytes = b"", *, headers: bytes = b"", repeat: bool = False) -> Msg:
        """The answer to one question; see ``ask_all``."""
        return (await self.ask_all([(subject, body, headers)], repeat=repeat))[0]

    async def ask_all(self, questions: Sequence[Question], *, repeat: bool = False) -> list[Msg]:
        """The answers to all *questions*, sent in one piece and in order; with *repeat*, asked again if the connection breaks.

        Raises:
            DeadlineExceeded: one did not come in time. Unavailable: there is no connection, it broke, or nobody listens.
        """
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    # While the connection is away, waiting for it is cheaper for all than failing and being asked again.
                    await self.link.connected.wait()
                    try:
                        return await self._exchange(questions)
                    except Unavailable:
                        if not repeat:
                            raise
                    await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            if not self.link.connected.is_set():
                raise self.link.down() from error
            raise DeadlineExceeded("nats: no answer in time", dependency=DEPENDENCY, retry_after=RETRY_AFTER) from error

    async def _exchange(self, questions: Sequence[Question]) -> list[Msg]:
        expected = [self.expect() for _ in questions]
        futures = [future for _, future in expected]
        try:
            frames = [
                frame(subject, body, reply=reply, headers=headers)
                for (subject, body, headers), (reply, _) in zip(questions, expected, strict=True)
            ]
            await self.link.send(b"".join(frames), messages=len(frames))
            # One after the other: they come in this order anyway, and a wait on what is already there costs nothing.
            answers = [await future for future in futures]
        finally:
            release(futures)
        if any(status(message) == 503 and not message.data for message in answers):
            raise Unavailable("nats: nobody answers there", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
        return answers

    async def api(self, operation: str, body: bytes = b"", *, repeat: bool = False) -> dict[str, object]:
        """The answer to a request of the JetStream API, such as ``STREAM.INFO.EVENTS_0``.

        Raises:
            KalendsError: the broker refuses, or does not answer.
        """
        return answer((await self.ask(f"$JS.API.{operation}", body, repeat=repeat)).data)

    async def _arrived(self, message: Msg) -> None:
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

    @property
    def waiting(self) -> int:
        """How many messages wait to be taken."""
        return len(self._messages)

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

    def take_now(self) -> Msg | None:
        """A message that is already here, or None."""
        return self._messages.popleft() if self._messages else None

    async def _arrived(self, message: Msg) -> None:
        self._messages.append(message)
        self._news.set()

    def _broke(self) -> None:
        self.breaks += 1
        self._news.set()


def status(message: Msg) -> int:
    """The status that the broker put in the header line, such as 404; 0 for a message proper."""
    if not message.headers:
        return 0
    text = message.headers.get("Status", "")
    return int(text) if text.isdigit() and "Nats-Sequence" not in message.headers else 0
