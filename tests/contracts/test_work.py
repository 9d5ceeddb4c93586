"""The suite of the port ``work``, on the real broker and on a cluster of three."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from tests.support.broker import ALONE, SMALL, another_bus, own_bus, watched_server
from tests.support.waiting import until

from kalends.adapters.nats import LocalServer, NatsBus, agent
from kalends.adapters.nats.work import NatsWork, subject_of
from kalends.domain.errors import Damaged, DeadlineExceeded, Invalid, KalendsError, Occupied, Throttled, Unavailable
from kalends.ports.work import TaskCall, TaskHandler

pytestmark = pytest.mark.usefixtures("broker")

SECRET = "the-secret-words-of-a-user"


@asynccontextmanager
async def serving(bus: NatsBus, handlers: Mapping[str, TaskHandler], **given: float) -> AsyncIterator["asyncio.Task[None]"]:
    """The handlers at work for as long as the block runs; a cancelled server is waited for."""
    served = asyncio.create_task(NatsWork(bus.link, **given).serve(handlers))  # type: ignore[arg-type]
    subscriptions = bus.connection._subs
    await until(lambda: {subject_of(task) for task in handlers} <= {one.subject for one in subscriptions.values()})
    await bus.connection.flush()
    await bus.connection.flush()
    try:
        yield served
    finally:
        served.cancel()
        await asyncio.wait([served])


async def ask(bus: NatsBus, task: str, *, run_id: str = "r1", seconds: float = 20.0, **arguments: str) -> str:
    """Ask over *bus*."""
    return await NatsWork(bus.link).ask(task, run_id=run_id, arguments=arguments, timeout=seconds)


class Stubborn:
    """A handler that goes on until it is let go, and counts its runs; *heeds*: also when it is cancelled."""

    def __init__(self, *, heeds: bool = True) -> None:
        self.calls: list[TaskCall] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self._heeds = heeds

    async def __call__(self, call: TaskCall) -> str:
        self.calls.append(call)
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self._heeds:
                    raise
        return f"run {call.run_id} done"

    async def begun(self, count: int = 1) -> None:
        await until(lambda: len(self.calls) == count)


async def test_who_asks_gets_the_words_of_who_does_it(bus: NatsBus) -> None:
    """And who does it gets the run's id, the arguments, and the time that is left."""
    seen: list[TaskCall] = []

    async def sweep(call: TaskCall) -> str:
        seen.append(call)
        return "3 segments, 5 nodes"

    async with serving(bus, {"segment-sweep": sweep}):
        assert await ask(bus, "segment-sweep", checkpoint="2026-01-01T00:00:00+00:00") == "3 segments, 5 nodes"

    [call] = seen
    assert (call.task, call.run_id, call.arguments) == ("segment-sweep", "r1", {"checkpoint": "2026-01-01T00:00:00+00:00"})
    assert 0 < call.deadline - asyncio.get_running_loop().time() <= 20.0


async def test_a_task_that_nobody_serves_is_known_at_once(bus: NatsBus) -> None:
    """Long before the time is up; and what another task's server is there for does not matter."""
    async with serving(bus, {"other": Stubborn()}), asyncio.timeout(20):
        with pytest.raises(Unavailable, match="nobody serves toc-day"):
            await ask(bus, "toc-day", seconds=3600.0)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "Ä", "a" * 41])
async def test_what_is_no_name_of_a_task_is_refused(bus: NatsBus, name: str) -> None:
    """Neither asked for nor served."""
    with pytest.raises(Invalid):
        await ask(bus, name)
    with pytest.raises(Invalid):
        await NatsWork(bus.link).serve({name: Stubborn()})


@pytest.mark.parametrize("error", [Throttled("the model is busy", dependency="model"), Damaged("a record"), KalendsError("odd")])
async def test_the_tasks_own_failure_reaches_who_asked(bus: NatsBus, error: KalendsError) -> None:
    """With its type, its detail and its dependency, because the type decides what is done about it."""

    async def fail(_: TaskCall) -> str:
        raise error

    async with serving(bus, {"toc-day": fail}):
        with pytest.raises(type(error)) as caught:
            await ask(bus, "toc-day")

    assert type(caught.value) is type(error)
    assert caught.value.detail == error.detail
    assert caught.value.dependency == (error.dependency or "nats")


async def test_an_error_that_nobody_foresaw_is_told_without_its_words(bus: NatsBus) -> None:
    """They may quote what somebody said; and the server goes on."""
    failures = [RuntimeError(SECRET)]

    async def fail_once(_: TaskCall) -> str:
        if failures:
            raise failures.pop()
        return "done"

    async with serving(bus, {"toc-day": fail_once}):
        with pytest.raises(KalendsError) as caught:
            await ask(bus, "toc-day", run_id="r1")
        assert await ask(bus, "toc-day", run_id="r2") == "done"

    assert SECRET not in caught.value.detail


async def test_one_run_of_a_task_at_a_time(bus: NatsBus) -> None:
    """Another run is refused; another task is not."""
    one, other = Stubborn(), Stubborn()
    other.go.set()
    async with serving(bus, {"toc-day": one, "toc-week": other}), asyncio.TaskGroup() as group:
        first = group.create_task(ask(bus, "toc-day", run_id="r1"))
        await one.begun()
        with pytest.raises(Occupied):
            await ask(bus, "toc-day", run_id="r2")
        assert await ask(bus, "toc-week", run_id="r2") == "run r2 done"
        one.go.set()

        assert await first == "run r1 done"
        assert await ask(bus, "toc-day", run_id="r3") == "run r3 done"
    assert [call.run_id for call in one.calls] == ["r1", "r3"]


async def test_at_most_so_many_tasks_are_done_at_once(bus: NatsBus) -> None:
    """The others wait their turn, within their time."""
    handlers = {f"task-{number}": Stubborn() for number in range(4)}
    async with serving(bus, handlers, concurrency=2), asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(bus, task)) for task in handlers]
        await until(lambda: sum(len(handler.calls) for handler in handlers.values()) == 2)
        with pytest.raises(Occupied):
            await ask(bus, "task-3", run_id="r2")
        for handler in handlers.values():
            handler.go.set()

        assert [await one for one in asked] == ["run r1 done"] * 4


async def test_the_same_run_asked_for_twice_is_done_once(bus: NatsBus) -> None:
    """While it is under way, and after it has ended: so it can be asked for again whenever an answer may be lost."""
    handler = Stubborn()
    async with serving(bus, {"toc-day": handler}), asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(bus, "toc-day")) for _ in range(3)]
        await handler.begun()
        handler.go.set()

        assert [await one for one in asked] == ["run r1 done"] * 3
        assert await ask(bus, "toc-day") == "run r1 done"
    assert len(handler.calls) == 1


async def test_a_run_that_takes_longer_than_the_silence_is_waited_for(bus: NatsBus) -> None:
    """Who does it speaks meanwhile."""
    handler = Stubborn()
    async with serving(bus, {"toc-day": handler}, silence_s=0.3), asyncio.TaskGroup() as group:
        asked = group.create_task(NatsWork(bus.link, silence_s=0.3).ask("toc-day", run_id="r1", arguments={}, timeout=20.0))
        await handler.begun()
        await until(lambda: bus.connection.stats["in_msgs"] > 10)
        handler.go.set()

        assert await asked == "run r1 done"


async def test_a_worker_that_says_nothing_any_more_is_taken_for_dead(bus: NatsBus) -> None:
    """Somebody who listens but never speaks, as a process that was stopped."""

    async def ignore(_: object) -> None:
        return

    subscription = await bus.connection.subscribe(subject_of("toc-day"), cb=ignore)
    with pytest.raises(Unavailable, match="is gone"):
        await NatsWork(bus.link, silence_s=0.2).ask("toc-day", run_id="r1", arguments={}, timeout=20.0)
    await subscription.unsubscribe()


async def test_at_the_deadline_the_handler_is_cancelled_and_who_asked_is_told(bus: NatsBus) -> None:
    """And the task can be done again."""
    handler = Stubborn()
    async with serving(bus, {"toc-day": handler}):
        with pytest.raises(DeadlineExceeded):
            await ask(bus, "toc-day", run_id="r1", seconds=0.2)
        await until(lambda: handler.cancelled == 1)
        handler.go.set()

        assert await ask(bus, "toc-day", run_id="r2") == "run r2 done"


async def test_a_handler_that_does_not_heed_its_cancellation_keeps_its_task_and_nothing_else(bus: NatsBus) -> None:
    """Who asked is told in time; another run is refused until the handler has really ended."""
    handler, other = Stubborn(heeds=False), Stubborn()
    other.go.set()
    async with serving(bus, {"toc-day": handler, "toc-week": other}):
        with pytest.raises(DeadlineExceeded):
            await ask(bus, "toc-day", run_id="r1", seconds=0.2)
        await until(lambda: handler.cancelled == 1)
        with pytest.raises(Occupied):
            await ask(bus, "toc-day", run_id="r2")
        assert await ask(bus, "toc-week") == "run r1 done"
        handler.go.set()
        await until(lambda: _is_free(bus, "toc-day"))

    assert [call.run_id for call in handler.calls] == ["r1", "r3"]


async def _is_free(bus: NatsBus, task: str) -> bool:
    try:
        return await ask(bus, task, run_id="r3") == "run r3 done"
    except Occupied:
        return False


async def test_a_server_that_ends_lets_runs_under_way_end(bus: NatsBus) -> None:
    """And takes no new ones."""
    handler = Stubborn()
    async with serving(bus, {"toc-day": handler}) as served:
        asked = asyncio.create_task(ask(bus, "toc-day"))
        await handler.begun()
        served.cancel()
        await until(lambda: _nobody_serves(bus, "toc-day"))
        handler.go.set()

        assert await asked == "run r1 done"
        await asyncio.wait([served])
    assert served.cancelled()


async def _nobody_serves(bus: NatsBus, task: str) -> bool:
    try:
        await ask(bus, task, run_id="r2")
    except Unavailable:
        return True
    except Occupied:
        return False
    return False


async def test_a_run_that_does_not_end_in_time_is_cut_short_and_said_to_be(bus: NatsBus) -> None:
    """So that it is asked for again at once, and not when its own time is up."""
    handler = Stubborn()
    async with serving(bus, {"toc-day": handler}, drain_s=0.1) as served:
        asked = asyncio.create_task(ask(bus, "toc-day"))
        await handler.begun()
        served.cancel()

        with pytest.raises(Unavailable, match="is stopping"):
            await asked
    assert handler.cancelled == 1


async def test_of_several_servers_one_does_a_run(bus: NatsBus) -> None:
    """They share the tasks out."""
    one, other = Stubborn(), Stubborn()
    one.go.set()
    other.go.set()
    async with serving(bus, {"toc-day": one}), serving(bus, {"toc-day": other}):
        for number in range(20):
            await ask(bus, "toc-day", run_id=f"r{number}")

    assert len(one.calls) + len(other.calls) == 20


@ALONE
async def test_a_run_outlives_a_restart_of_the_broker(tmp_path: Path) -> None:
    """Who asked asks again and joins it, also if it ended while the connection was away."""
    handler = Stubborn()
    async with (
        watched_server(tmp_path) as server,
        own_bus(server, SMALL) as asker,
        own_bus(server, SMALL) as worker,
        serving(worker, {"toc-day": handler}),
        asyncio.TaskGroup() as group,
    ):
        asked = group.create_task(ask(asker, "toc-day"))
        await handler.begun()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not worker.link.connected.is_set())
        handler.go.set()

        assert await asked == "run r1 done"
        assert await ask(asker, "toc-day", run_id="r2") == "run r2 done"
    assert [call.run_id for call in handler.calls] == ["r1", "r2"]


@ALONE
async def test_while_the_broker_is_away_the_time_runs_out(tmp_path: Path) -> None:
    """The error says that it is the broker."""
    async with LocalServer(tmp_path) as server, own_bus(server, SMALL) as bus:
        await server.stop()
        await until(lambda: not bus.link.connected.is_set())

        with pytest.raises(Unavailable) as caught:
            await ask(bus, "toc-day", seconds=0.2)
    assert caught.value.dependency == "nats"


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (b"", "_INBOX_x.1"),
        (b"not json", "_INBOX_x.1"),
        (b'{"run_id":"r","arguments":{},"timeout_s":5}', "rec.v1.token.x.y"),
        (b'{"run_id":"r","arguments":{},"timeout_s":0}', "_INBOX_x.1"),
        (b'{"run_id":"r","arguments":{},"timeout_s":1e300}', "_INBOX_x.1"),
        (b'{"run_id":"r","arguments":{"a":1},"timeout_s":5}', "_INBOX_x.1"),
    ],
)
async def test_a_request_that_makes_no_sense_begins_nothing(bus: NatsBus, body: bytes, reply: str) -> None:
    """An answer goes to an inbox or nowhere; and the server goes on."""
    handler = Stubborn()
    handler.go.set()
    async with serving(bus, {"toc-day": handler}):
        await bus.connection.publish(subject_of("toc-day"), body, reply=reply)
        assert await ask(bus, "toc-day", run_id="r2") == "run r2 done"

    assert [call.run_id for call in handler.calls] == ["r2"]


async def test_an_answer_that_makes_no_sense_is_not_taken_for_one(bus: NatsBus) -> None:
    """The next one may be better."""

    async def answer(message: nats.aio.msg.Msg) -> None:
        for body in (b"", b"[]", b'{"state":"perhaps"}', b'{"state":"done","result":"at last"}'):
            await bus.connection.publish(message.reply, body)

    subscription = await bus.connection.subscribe(subject_of("toc-day"), cb=answer)
    assert await ask(bus, "toc-day") == "at last"
    await subscription.unsubscribe()


@ALONE
async def test_an_agent_can_neither_ask_for_work_nor_do_it(tmp_path: Path) -> None:
    """Its user may publish below its own memories and listen to its own inbox: the broker refuses all else."""
    user = agent("a1", password="pass", tenant="local", memory="notes")
    handler = Stubborn()
    errors: list[str] = []

    async def complained(error: Exception) -> None:
        errors.append(str(error).lower())

    async with LocalServer(tmp_path, users=lambda: [user]) as server, own_bus(server, SMALL) as bus, serving(bus, {"toc-day": handler}):
        client: Client = await nats.connect(server.url, user="a1", password="pass", inbox_prefix="_INBOX_a1", error_cb=complained)
        try:
            await client.publish(subject_of("toc-day"), b'{"run_id":"r","arguments":{},"timeout_s":5}', reply="_INBOX_a1.1")
            await client.subscribe("work.v1.>")
            await client.subscribe(subject_of("toc-day"), queue="kalends-work")
            await client.flush()
            await client.flush()
        finally:
            await client.close()

    assert sum("permissions violation for publish" in error for error in errors) == 1
    assert sum("permissions violation for subscription" in error for error in errors) == 2
    assert handler.calls == []


async def test_what_is_opened_for_an_ask_is_closed_after_it(bus: NatsBus) -> None:
    """A sweep every five seconds would otherwise fill the broker with subscriptions."""
    handler = Stubborn()
    handler.go.set()
    async with serving(bus, {"toc-day": handler}), another_bus() as asker:
        before = (len(asker.connection._subs), len(asker.link._broken))
        for number in range(5):
            await ask(asker, "toc-day", run_id=f"r{number}")

        assert (len(asker.connection._subs), len(asker.link._broken)) == before
