"""Schedulers for tests: whole ones, on any records and any clock, with work that is done in the test itself.

Belongs here: building them, starting and ending them in the ways that processes end, and a stand-in for the work. Does not belong here:
what is due. A newcomer would get wrong: a scheduler whose records are cut is a process that stands still or lost its network: it goes on in
its own opinion, writes nothing any more, and writes late once it is mended.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import Unavailable
from kalends.domain.schedules import JobSpec, JobState
from kalends.domain.scope import Tenant
from kalends.edge.metrics import Metrics, new_metrics
from kalends.edge.operations import Answer, Call
from kalends.edge.services import Service
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records
from kalends.scheduler import service
from kalends.scheduler.leading import Pace
from kalends.wire.jobs import JobStore
from kalends.wire.leases import Lease
from tests.support.clocks import SimulatedClock, settled
from tests.support.waiting import until

YEARS_S = 1e9
"""A lease that needs no renewal while simulated years pass."""

BRISK = Pace(look_s=30.0, write_every_s=30.0, settle_s=0.0)
_HOLDERS = count(1)

Doing = Callable[["Asked"], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One thing that was asked for, and when by the clock of who asked."""

    task: str
    run_id: str
    checkpoint: str
    at: datetime


@dataclass(kw_only=True)
class Workshop:
    """The port ``work``, done on the spot: ``doing`` by task; a task without an entry succeeds at once."""

    clock: Clock
    asked: list[Asked] = field(default_factory=list)
    doing: dict[str, Doing] = field(default_factory=dict)
    under_way: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0

    async def ask(self, task: str, *, run_id: str, arguments: Mapping[str, str], timeout: float) -> str:  # noqa: ASYNC109 - the port's word
        asked = Asked(task=task, run_id=run_id, checkpoint=arguments["checkpoint"], at=self.clock.now())
        self.asked.append(asked)
        self.under_way[task] = self.under_way.get(task, 0) + 1
        self.most_at_once = max(self.most_at_once, self.under_way[task])
        try:
            return await self.doing[task](asked) if task in self.doing else "nothing to do"
        finally:
            self.under_way[task] -= 1

    async def serve(self, handlers: Mapping[str, object]) -> None:
        raise AssertionError("nothing is served here")

    def times(self, task: str) -> list[datetime]:
        """When *task* was asked for."""
        return [one.at for one in self.asked if one.task == task]


class Cuttable:
    """Records that can be cut off, and mended; they count what is under way, and the writes of each kind."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.is_cut = False
        self.under_way = 0
        self.writes: Counter[str] = Counter()

    @contextmanager
    def _through(self) -> Iterator[Records]:
        if self.is_cut:
            raise Unavailable("cut off", dependency="nats")
        self.under_way += 1
        try:
            yield self._records
        finally:
            self.under_way -= 1

    async def get(self, kind: str, owner: str, name: str) -> Record | None:
        with self._through() as records:
            return await records.get(kind, owner, name)

    async def put(self, kind: str, owner: str, name: str, value: bytes, *, revision: int | None = None) -> int:
        with self._through() as records:
            self.writes[kind] += 1
            return await records.put(kind, owner, name, value, revision=revision)

    async def delete(self, kind: str, owner: str, name: str) -> None:
        with self._through() as records:
            await records.delete(kind, owner, name)

    async def list(self, kind: str, owner: str | None = None) -> Sequence[Record]:
        with self._through() as records:
            return await records.list(kind, owner)

    async def watch(self, kind: str) -> AsyncGenerator[Record | None, None]:
        async with aclosing(self._records.watch(kind)) as records:
            async for record in records:
                if self.is_cut:
                    raise Unavailable("cut off", dependency="nats")
                yield record


@dataclass(kw_only=True)
class Running:
    """A scheduler at work."""

    service: Service
    clock: Clock
    records: Cuttable
    store: JobStore
    lease: Lease
    work: Workshop
    metrics: Metrics
    loop: "asyncio.Task[None]"

    async def call(self, operation: str, name: str = "") -> Any:
        """What the operation ``scheduler.<operation>`` answers."""
        row = next(row for row in self.service.operations if row.name == f"scheduler.{operation}")
        answer: Answer = await row.handle(_call(name))
        return answer.body

    async def job(self, name: str) -> Any:
        """One job as the list shows it."""
        return next(job for job in (await self.call("list")).items if job.job_name == name)

    async def stored(self, name: str) -> JobState:
        """One job as it is stored."""
        found = await self.store.get(name)
        assert found is not None
        return found.state

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.metrics.registry.get_sample_value("kalends_scheduler_leader") == 1

    async def stop(self) -> None:
        """End it in order."""
        self.loop.cancel()
        await asyncio.wait([self.loop])

    async def kill(self) -> None:
        """End it without last words, as a kill does."""
        self.records.is_cut = True
        await self.stop()


@asynccontextmanager
async def scheduler(
    *jobs: JobSpec,
    records: Records,
    clock: Clock,
    work: Workshop | None = None,
    lease_s: float = YEARS_S,
    pace: Pace = BRISK,
    alone: bool = False,
) -> AsyncIterator[Running]:
    """A scheduler at work for as long as the block runs."""
    own, metrics, done = Cuttable(records), new_metrics(version="0"), work or Workshop(clock=clock)
    lease = Lease(own, name="scheduler", holder=f"process-{next(_HOLDERS)}", lease_s=lease_s, clock=clock, alone=alone)
    store = JobStore(own)
    built = service.build(jobs, store=store, lease=lease, work=done, clock=clock, metrics=metrics, pace=pace)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(_run(built))
        running = Running(service=built, clock=clock, records=own, store=store, lease=lease, work=done, metrics=metrics, loop=loop)
        try:
            yield running
        finally:
            await running.stop()


async def pass_time(seconds: float, *schedulers: Running, step_s: float = 0.25) -> None:
    """Let time pass on the simulated clocks of all *schedulers* alike; after each step whatever they ask of the store is answered."""
    clocks = {id(one.clock): one.clock for one in schedulers}.values()
    for _ in range(max(1, round(seconds / step_s))):
        for clock in clocks:
            assert isinstance(clock, SimulatedClock)
            await clock.advance(min(step_s, seconds))
        await quiet(*schedulers)


async def leading(*schedulers: Running) -> Running:
    """The one that leads, once there is one."""
    while not any(one.leads for one in schedulers):
        await pass_time(0.25, *schedulers)
    return next(one for one in schedulers if one.leads)


async def quiet(*schedulers: Running) -> None:
    """Return once none of *schedulers* waits for the store or can go on by itself."""
    while True:
        await until(lambda: all(one.records.under_way == 0 for one in schedulers))
        await settled()
        if all(one.records.under_way == 0 for one in schedulers):
            return


async def _run(built: Service) -> None:
    for loop in built.loops:
        await loop.run()


def _call(name: str) -> Call:
    principal = Principal(token_id="t", tenant=Tenant("local"), memories=None, rights=frozenset(RIGHTS), expires_at=None)
    return Call(
        principal=principal, scope=None, path={"name": name}, query=None, body=None, raw=b"", headers={}, request_id="r", deadline=0.0
    )
