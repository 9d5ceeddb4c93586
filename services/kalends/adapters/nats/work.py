"""Work over NATS: a request to whoever serves the task, and an answer that says from time to time that it is still coming.

Belongs here: subjects, the words on the wire, joining and refusing runs. Does not belong here: when a task is due, or what it does. A
newcomer would get wrong: no answer means nothing. A broker that restarts loses requests and answers, so who asks does so again, for the
same run, once the connection is back; and who does it remembers how the last run of each task ended.
"""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from kalends.adapters.nats.connection import Link
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, translated
from kalends.adapters.nats.requests import Inbox, frame, status
from kalends.domain import errors
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Occupied, Unavailable
from kalends.domain.scope import token
from kalends.kit import tasks
from kalends.ports.work import TaskCall, TaskHandler

log = structlog.get_logger(__name__)

QUEUE = "kalends-work"
_INBOX = "_INBOX"
_PAUSE_S = 0.1
_LAST_WORDS_S = 1.0
_LONGEST_S = 7 * 24 * 3600.0
_BEATS = 3
"""So often a worker speaks within the silence after which it is taken for dead."""

_FAILURES: Mapping[str, type[KalendsError]] = {
    kind.code: kind
    for kind in (
        errors.Conflict,
        errors.Damaged,
        errors.DeadlineExceeded,
        errors.Gone,
        errors.Invalid,
        errors.Malformed,
        errors.Misconfigured,
        errors.NotFound,
        errors.Occupied,
        errors.Throttled,
        errors.TooLarge,
        errors.Unavailable,
    )
}


class _NotAnswered(Exception):
    """There was no answer, for the reason given; a broken connection may be why."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    arguments: dict[str, str]
    timeout_s: float
    """What is left of the time, since no two machines' clocks are compared."""


class _Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    state: Literal["working", "done", "busy", "failed"]
    result: str = ""
    code: str = ""
    detail: str = ""
    dependency: str | None = None


_REQUESTS = msgspec.json.Decoder(_Request)
_REPLIES = msgspec.json.Decoder(_Reply)
_WORKING = _Reply(state="working")


def subject_of(task: str) -> str:
    """Where *task* is asked for; agents may publish only below ``kalends.``, so nobody but the platform reaches it.

    Raises:
        Invalid: it is no name of a task.
    """
    if not task or token(task) != task:
        raise Invalid(f"a task cannot be called {task!r}")
    return f"work.v1.{task}"


class NatsWork:
    """Tasks by request and reply over one connection.

    A worker that says nothing for *silence_s* seconds is taken for dead. A server runs at most *concurrency* tasks at once, and at its end
    gives those under way *drain_s* seconds.
    """

    def __init__(self, link: Link, *, silence_s: float = 15.0, drain_s: float = 10.0, concurrency: int = 4) -> None:
        self._link = link
        self._silence_s = silence_s
        self._drain_s = drain_s
        self._concurrency = concurrency

    async def ask(self, task: str, *, run_id: str, arguments: Mapping[str, str], timeout: float) -> str:  # noqa: ASYNC109 - the port's word; it travels to who does it
        """Have *task* done within *timeout* seconds, and return the words of who did it.

        Raises:
            Unavailable: nobody serves the task, or who did it is gone. Occupied: another run of it is under way. DeadlineExceeded: it was
            not done in time. KalendsError: its own failure.
        """
        asking = _Asking(
            link=self._link, task=task, subject=subject_of(task), run_id=run_id, arguments=arguments, silence_s=self._silence_s
        )
        try:
            async with asyncio.timeout(timeout) as limit:
                return await asking.answer(until=limit.when() or math.inf)
        except TimeoutError as error:
            if not self._link.connected.is_set():
                raise self._link.down() from error
            raise DeadlineExceeded(f"{task} was not done within {timeout:g} s", dependency=task) from error
        finally:
            await asking.close()

    async def serve(self, handlers: Mapping[str, TaskHandler]) -> None:
        """Do these tasks, one run of each at a time, until cancelled; then let runs under way end, for a while."""
        subjects = {subject_of(task): task for task in handlers}
        async with tasks.group() as group:
            desk = _Desk(
                link=self._link, handlers=handlers, group=group, beat_s=self._silence_s / _BEATS, slots=asyncio.Semaphore(self._concurrency)
            )
            listening = []
            try:
                await self._link.connected.wait()
                for subject in subjects:
                    with translated():
                        listening.append(await self._link.client.subscribe(subject, queue=QUEUE, cb=desk.take))
                await asyncio.Event().wait()
            finally:
                for subscription in listening:
                    await self._stop_listening(subscription)
                await desk.close(self._drain_s)

    async def _stop_listening(self, subscription: Subscription) -> None:
        """Hear what was sent here already, and nothing more: a request that is dropped would be waited for in vain."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                # a flush overtakes what the client still buffers, so only what the second one brings comes after the broker has heard
                await self._link.send(b"UNSUB %d\r\n" % subscription._id, messages=0)  # noqa: SLF001 - nats-py's drain waits for one flush only
                with translated():
                    await self._link.client.flush()
                    await self._link.client.flush()
                    await subscription.drain()  # type: ignore[no-untyped-call]
        except (KalendsError, TimeoutError) as error:
            log.warning("a subscription was not closed in order", error_type=type(error).__name__)


@dataclass(slots=True, kw_only=True)
class _Asking:
    """One run as who asked for it sees it."""

    link: Link
    task: str
    subject: str
    run_id: str
    arguments: Mapping[str, str]
    silence_s: float
    inbox: Inbox | None = None
    numbers: "count[int]" = field(default_factory=count)

    async def answer(self, *, until: float) -> str:
        """Ask, and ask again whenever the connection broke, until there is an answer."""
        await self.link.connected.wait()
        self.inbox = inbox = Inbox(self.link)
        await inbox.open()
        loop = asyncio.get_running_loop()
        broke, patient_until = False, -math.inf
        while True:
            await self.link.connected.wait()
            if broke:
                # who was at work may need longer than we to be back after a broker's restart
                broke, patient_until = False, loop.time() + self.silence_s
            breaks = inbox.breaks
            left = min(max(until - loop.time(), 0.0), _LONGEST_S)
            request = _Request(run_id=self.run_id, arguments=dict(self.arguments), timeout_s=left)
            try:
                return self._read(await self._exchange(inbox, msgspec.json.encode(request)))
            except _NotAnswered as error:
                broke = inbox.breaks != breaks or not self.link.client.is_connected
                if not broke and loop.time() >= patient_until:
                    raise Unavailable(error.args[0], dependency=self.task, retry_after=RETRY_AFTER) from error
                await asyncio.sleep(_PAUSE_S)

    async def _exchange(self, inbox: Inbox, request: bytes) -> _Reply:
        """One request and what came of it.

        Raises:
            _NotAnswered: nobody serves the task, nobody speaks any more, or the connection broke.
        """
        where = f"{inbox.subject}.{next(self.numbers)}"
        try:
            await self.link.send(frame(self.subject, request, reply=where), messages=1)
        except KalendsError as error:
            raise _NotAnswered(error.detail) from error
        while (message := await inbox.take(wait=self.silence_s)) is not None:
            if status(message) == 503 and not message.data:
                raise _NotAnswered(f"nobody serves {self.task}")
            reply = _read(message)
            if reply is not None and reply.state != "working":
                return reply
        raise _NotAnswered(f"who did {self.task} is gone")

    def _read(self, reply: _Reply) -> str:
        if reply.state == "busy":
            raise Occupied(f"a run of {self.task} is under way already", dependency=self.task, retry_after=RETRY_AFTER)
        if reply.state == "failed":
            raise _FAILURES.get(reply.code, KalendsError)(reply.detail, dependency=reply.dependency)
        return reply.result

    async def close(self) -> None:
        """Stop to listen."""
        if self.inbox is not None:
            await self.inbox.close()


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run under way: whom to tell, and what was told in the end."""

    run_id: str
    replies: list[str]
    doing: "asyncio.Task[_Reply] | None" = None
    ending: _Reply | None = None


@dataclass(slots=True, kw_only=True)
class _Desk:
    """Takes requests, one run of each task at a time."""

    link: Link
    handlers: Mapping[str, TaskHandler]
    group: asyncio.TaskGroup
    beat_s: float
    slots: asyncio.Semaphore
    running: dict[str, _Run] = field(default_factory=dict)
    ended: dict[str, _Run] = field(default_factory=dict)
    keepers: set["asyncio.Task[None]"] = field(default_factory=set)
    is_closed: bool = False

    async def take(self, message: Msg) -> None:
        """Begin a run, join one, or say why not; returns at once, because each subscription waits for it."""
        task, reply = message.subject.rpartition(".")[2], message.reply
        try:
            request = _REQUESTS.decode(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("a request for work could not be read", task=task, error_type=type(error).__name__)
            return
        if self.is_closed or not reply.startswith(_INBOX) or not 0 < request.timeout_s <= _LONGEST_S:
            log.warning("a request for work that cannot be answered", task=task)
            return
        known = (run for run in (self.running.get(task), self.ended.get(task)) if run is not None and run.run_id == request.run_id)
        if (run := next(known, None)) is not None:
            run.replies.append(reply)
            await self._say(run.ending or _WORKING, reply)
        elif task in self.running:
            await self._say(_Reply(state="busy"), reply)
        else:
            self._begin(task, request, reply)

    def _begin(self, task: str, request: _Request, reply: str) -> None:
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        run = self.running[task] = _Run(run_id=request.run_id, replies=[reply])
        call = TaskCall(task=task, run_id=request.run_id, arguments=request.arguments, deadline=deadline)
        run.doing = self.group.create_task(self._do(call), name=f"work {task}")
        keeper = self.group.create_task(self._keep(run.doing, run, call), name=f"work {task} answers")
        self.keepers.add(keeper)
        keeper.add_done_callback(self.keepers.discard)

    async def _do(self, call: TaskCall) -> _Reply:
        """Run the handler; whatever it raises becomes an answer, and only cancellation passes through."""
        try:
            async with self.slots:
                return _Reply(state="done", result=await self.handlers[call.task](call))
        except KalendsError as error:
            log.warning("a task failed", task=call.task, run_id=call.run_id, kind=error.code, reason=error.detail)
            return _failed(error)
        except Exception:
            log.exception("a task failed", task=call.task, run_id=call.run_id, kind="internal")
            return _failed(KalendsError("an unexpected error; the log of who did it says which"))

    async def _keep(self, doing: "asyncio.Task[_Reply]", run: _Run, call: TaskCall) -> None:
        """Tell who asked that the run is under way, and then how it ended; the task stays taken until the handler has really ended."""
        loop = asyncio.get_running_loop()
        try:
            while not doing.done() and (left := call.deadline - loop.time()) > 0:
                await self._tell(run, _WORKING)
                await asyncio.wait({doing}, timeout=min(self.beat_s, left))
            if doing.done():
                gone = _failed(Unavailable(f"who did {call.task} is stopping", dependency=call.task))
                run.ending = gone if doing.cancelled() else doing.result()
            else:
                doing.cancel()
                run.ending = _failed(DeadlineExceeded(f"{call.task} was not done in time", dependency=call.task))
            await self._tell(run, run.ending)
            await asyncio.wait({doing})
        finally:
            self.ended[call.task] = self.running.pop(call.task)

    async def _tell(self, run: _Run, reply: _Reply) -> None:
        for where in run.replies:
            await self._say(reply, where)

    async def _say(self, reply: _Reply, where: str) -> None:
        # a broken connection is no reason to stop: who asked asks again once it is back, and is told then
        with suppress(KalendsError):
            await self.link.send(frame(where, msgspec.json.encode(reply)), messages=1)

    async def close(self, drain_s: float) -> None:
        """Let runs under way end, for at most *drain_s* seconds; then stop them and say so."""
        self.is_closed = True
        if self.keepers:
            await asyncio.wait(set(self.keepers), timeout=drain_s)
        for run in self.running.values():
            if run.doing is not None:
                run.doing.cancel()
        if self.keepers:
            await asyncio.wait(set(self.keepers), timeout=_LAST_WORDS_S)


def _failed(error: KalendsError) -> _Reply:
    return _Reply(state="failed", code=error.code, detail=error.detail, dependency=error.dependency or DEPENDENCY)


def _read(message: Msg) -> _Reply | None:
    try:
        return _REPLIES.decode(message.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("an answer about work could not be read", error_type=type(error).__name__)
        return None
