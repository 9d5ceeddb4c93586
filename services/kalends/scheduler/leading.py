"""Leading: what the one scheduler that holds the lease does, from taking the jobs over to being replaced.

Belongs here: beginning runs, watching over them, writing how they went. Does not belong here: decisions (``domain.schedules``), the lease
(``usecases``). A newcomer would get wrong: a job that runs more often than once a minute is not written after each run, which would cost a
synced write every few seconds; its counters may be half a minute old on disk, but a result that changes is written at once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from kalends.domain import schedules
from kalends.domain.errors import Conflict, KalendsError, Occupied, Throttled, Unavailable
from kalends.domain.events import new_ulid
from kalends.domain.schedules import JobSpec, JobState, Outcome
from kalends.kit import failpoints
from kalends.ports.clock import Clock
from kalends.ports.work import Work
from kalends.wire.jobs import JobStore, StoredJob

log = structlog.get_logger(__name__)

_TRIES = 20
_STORE_AWAY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the leader does what nothing else makes it do; all in seconds.

    ``look_s``: the longest sleep, after which a wall clock that was set is noticed. ``write_every_s``: how old the stored state of a job
    may be that runs more often than once a minute. ``settle_s``: how long a new leader leaves those who do the work to come up.
    """

    look_s: float = 30.0
    write_every_s: float = 30.0
    settle_s: float = 1.0


@dataclass(kw_only=True)
class Leadership:
    """One term. ``take_over``, then ``lead`` until *holds* says no or a later leader is seen; then ``end``, if the store can be trusted.

    Runs are tasks of *group*, which outlives the term: an answer that does not heed its cancellation holds up nothing.
    """

    term: int
    specs: Mapping[str, JobSpec]
    store: JobStore
    work: Work
    clock: Clock
    pace: Pace
    group: asyncio.TaskGroup
    holds: Callable[[], bool]
    observe: Callable[[str, Outcome], None]
    states: dict[str, JobState] = field(default_factory=dict)
    """How each job is; the store may know less."""
    is_over: bool = False
    _stored: dict[str, StoredJob] = field(default_factory=dict)
    _heard: dict[str, StoredJob] = field(default_factory=dict)
    _written_at: dict[str, float] = field(default_factory=dict)
    _frequent: frozenset[str] = frozenset()
    _runs: "dict[str, asyncio.Task[None]]" = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def take_over(self) -> None:
        """Write our term into every job, so that what an earlier leader writes late is refused.

        Raises:
            Conflict: a later leader is here already. And what the store raises.
        """
        now = self.clock.now()
        self._frequent = frozenset(name for name, spec in self.specs.items() if schedules.is_frequent(spec, now=now))
        for name in self.specs:
            for _ in range(_TRIES):
                try:
                    await self._take(name)
                    break
                except Conflict:
                    if self.is_over:
                        raise
            else:
                raise Conflict(f"job {name} is written all the time")
        await failpoints.reach("scheduler.after-take-over")

    async def _take(self, name: str) -> None:
        found = await self.store.get(name)
        if found is not None and found.state.term > self.term:
            self.is_over = True
            raise Conflict("a later leader is here already")
        known = None if found is None else found.state
        state = schedules.taken_over(
            self.specs[name], known, now=self.clock.now(), term=self.term, settle_s=self.pace.settle_s if found is not None else 0.0
        )
        written = await self.store.put(state, revision=0 if found is None else found.revision)
        self.states[name], self._stored[name] = state, written
        self._written_at[name] = self.clock.monotonic()
        heard = self._heard.get(name)
        if heard is not None:
            self.heed(heard)

    async def lead(self) -> None:
        """Begin what is due, until we do not hold the lease any more."""
        try:
            while self.holds() and not self.is_over:
                pause = self._begin_what_is_due()
                if not await self._write_changes():
                    pause = min(pause, _STORE_AWAY_S)
                await self._rest(pause)
        finally:
            self.is_over = True
            for run in self._runs.values():
                run.cancel()

    def heed(self, job: StoredJob) -> None:
        """A job was written; by a person through any process, by ourselves, or by a later leader."""
        name = job.state.name
        known = self._stored.get(name)
        if known is None or job.revision <= known.revision:
            self._heard[name] = job
            return
        if job.state.term > self.term:
            self.is_over = True
        else:
            self._stored[name] = job
            self.states[name] = schedules.heeded(self.specs[name], self.states[name], job.state, now=self.clock.now())
        self.wake()

    def wake(self) -> None:
        """Look again at once."""
        self._news.set()

    async def end(self) -> None:
        """Write what is not written yet; a run that was cut short is written as under way, so that the next leader has it done again.

        Raises:
            KalendsError: the store refuses, or does not answer.
        """
        for name, state in self.states.items():
            if state != self._stored[name].state:
                await self.store.put(state, revision=self._stored[name].revision)

    async def _rest(self, seconds: float) -> None:
        if not self._news.is_set():
            async with asyncio.TaskGroup() as group:
                waits = {group.create_task(self.clock.sleep(seconds)), group.create_task(self._news.wait())}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        self._news.clear()

    def _begin_what_is_due(self) -> float:
        """Begin every run whose time has come; the seconds until the next one's."""
        now, soonest = self.clock.now(), self.pace.look_s
        for name, spec in self.specs.items():
            state = self.states[name] = schedules.realigned(spec, self.states[name], now=now)
            if schedules.is_due(state, now=now):
                begun = self.states[name] = schedules.started(spec, state, now=now, run_id=new_ulid(now))
                self._runs[name] = self.group.create_task(self._run(spec, begun), name=f"scheduler {name}")
            elif state.next_run_at is not None and not state.is_running:
                soonest = min(soonest, (state.next_run_at - now).total_seconds())
        return max(soonest, 0.0)

    async def _run(self, spec: JobSpec, begun: JobState) -> None:
        """Have one run done, for as long as it may take, and keep what came of it."""
        start = self.clock.monotonic()
        asked = self.group.create_task(self._ask(spec, begun), name=f"scheduler {spec.name} asks")
        timer = self.group.create_task(self.clock.sleep(spec.timeout_s), name=f"scheduler {spec.name} limit")
        try:
            await asyncio.wait({asked, timer}, return_when=asyncio.FIRST_COMPLETED)
            seconds = self.clock.monotonic() - start
            if asked.done() and not asked.cancelled():
                answer = asked.result()
            else:
                answer = Outcome(result="FAILED", seconds=seconds, error=f"not done within {spec.timeout_s:g} s")
        finally:
            asked.cancel()
            timer.cancel()
        if self.is_over or not self.holds():
            return  # the next leader has it done again
        outcome = Outcome(result=answer.result, seconds=seconds, error=answer.error, again=answer.again)
        now = self.clock.now()
        self.states[spec.name] = schedules.ended(spec, self.states[spec.name], outcome, now=now, since=begun.checkpoint)
        self.observe(spec.name, outcome)
        self.wake()

    async def _ask(self, spec: JobSpec, begun: JobState) -> Outcome:
        """What became of asking; only cancellation passes through."""
        told = log.bind(job=spec.name, run_id=begun.run_id)
        try:
            await failpoints.reach("scheduler.before-ask")
            summary = await self.work.ask(
                spec.task, run_id=begun.run_id, arguments={"checkpoint": begun.checkpoint}, timeout=spec.timeout_s
            )
            await failpoints.reach("scheduler.after-ask")
        except Occupied as error:
            told.info("a run was skipped", reason=error.detail)
            return Outcome(result="SKIPPED", seconds=0.0, error=error.detail, again=True)
        except KalendsError as error:
            told.warning("a run failed", kind=error.code, reason=error.detail)
            return Outcome(result="FAILED", seconds=0.0, error=error.detail, again=isinstance(error, Unavailable | Throttled))
        except Exception as error:  # noqa: BLE001 - it is reported, and told as the result of the run
            told.exception("a run failed", kind="internal")
            return Outcome(result="FAILED", seconds=0.0, error=f"an unexpected error: {type(error).__name__}")
        told.debug("a run succeeded", summary=summary)
        return Outcome(result="SUCCESS", seconds=0.0)

    async def _write_changes(self) -> bool:
        """Write every job that changed in a way that is worth it; whether the store took them all."""
        for name, state in list(self.states.items()):
            if not self._is_worth_writing(name, state):
                continue
            try:
                await failpoints.reach("scheduler.before-write")
                await self._write(state)
            except Conflict:
                await self._read_again(name)
            except KalendsError as error:
                log.warning("jobs cannot be written", kind=error.code, reason=error.detail)
                return False
        return True

    def _is_worth_writing(self, name: str, state: JobState) -> bool:
        stored = self._stored[name].state
        if state == stored:
            return False
        # one that is under way is left to its end, unless that takes long: a store that is read in between should not say so for ever
        patience = self.pace.write_every_s * (2 if state.is_running else 1)
        late = self.clock.monotonic() - self._written_at[name] >= patience
        return late or name not in self._frequent or schedules.is_news(stored, state)

    async def _write(self, state: JobState) -> None:
        written = await self.store.put(state, revision=self._stored[state.name].revision)
        self._written_at[state.name] = self.clock.monotonic()
        if written.revision > self._stored[state.name].revision:
            self._stored[state.name] = written

    async def _read_again(self, name: str) -> None:
        """Somebody else wrote: heed it, and write anew the next time round."""
        try:
            found = await self.store.get(name)
        except KalendsError as error:
            log.warning("a job cannot be read", job=name, kind=error.code, reason=error.detail)
            return
        if found is None:
            self._stored[name] = StoredJob(state=JobState(name=name), revision=0)
        else:
            self.heed(found)
        self.wake()
