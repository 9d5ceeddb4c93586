"""The scheduler of one process: it leads while it holds the lease, and answers for the jobs at any time.

Belongs here: taking turns with other processes, and what people ask about jobs. Does not belong here: the leader's work (``leading``). A
newcomer would get wrong: a request may reach a process that does not lead. It changes the stored job, and the leader hears of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from kalends.domain import schedules
from kalends.domain.errors import Conflict, KalendsError, NotFound
from kalends.domain.schedules import JobSpec, JobState, Outcome
from kalends.edge.metrics import Metrics
from kalends.edge.services import Health
from kalends.kit import tasks
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.ports.work import Work
from kalends.scheduler.leading import Leadership, Pace
from kalends.wire.jobs import JobStore, StoredJob
from kalends.wire.leases import Lease

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0
_LAST_WORDS_S = 5.0


class Scheduler:
    """Runs *jobs* while this process leads."""

    def __init__(
        self,
        *,
        jobs: Sequence[JobSpec],
        store: JobStore,
        lease: Lease,
        work: Work,
        clock: Clock,
        metrics: Metrics,
        pace: Pace,
    ) -> None:
        self._specs = {spec.name: spec for spec in jobs}
        self._store = store
        self._lease = lease
        self._work = work
        self._clock = clock
        self._metrics = metrics
        self._pace = pace
        self._known: dict[str, StoredJob] = {}
        self._leading: Leadership | None = None
        self._news = asyncio.Event()
        self._state, self._since = "up", clock.now()
        self._patient_until = clock.monotonic() + lease.replaced_within_s

    async def run(self) -> None:
        """Follow, and lead whenever the lease is free, until cancelled; then give it back."""
        async with tasks.group() as group:
            group.create_task(self._follow(), name="scheduler.follow")
            keeper = group.create_task(self._keep_lease(), name="scheduler.lease")
            try:
                while True:
                    await self._lead_once(group)
            finally:
                keeper.cancel()
                await asyncio.wait([keeper])
                await self._leave()

    async def _keep_lease(self) -> None:
        led, troubled = None, False
        while True:
            try:
                await self._lease.attempt()
                troubled = False
            except KalendsError as error:
                if not troubled:
                    log.warning("the lease cannot be looked at", kind=error.code, reason=error.detail)
                troubled = True
            if self._lease.term != led:
                led = self._lease.term
                log.info("this scheduler leads" if led else "this scheduler does not lead any more", term=led)
                if self._leading is not None:
                    self._leading.wake()
            self._news.set()
            await self._clock.sleep(self._lease.pause_s)

    async def _lead_once(self, group: asyncio.TaskGroup) -> None:
        """Wait until we may lead, and lead for one term."""
        while True:
            self._news.clear()
            if (term := self._lease.term) is not None:
                break
            await self._news.wait()
        leadership = self._leading = self._leadership(term, group)
        try:
            await leadership.take_over()
            self._metrics.scheduler_leader.set(1)
            await leadership.lead()
            self._overtaken(term)
        except Conflict as error:
            log.warning("another scheduler leads", term=term, reason=error.detail)
            self._overtaken(term)
        except KalendsError as error:
            log.warning("this scheduler cannot lead yet", term=term, kind=error.code, reason=error.detail)
            await self._clock.sleep(_AGAIN_S)
        finally:
            self._metrics.scheduler_leader.set(0)
        self._leading = None

    def _overtaken(self, term: int) -> None:
        """A later leader was seen, perhaps before the lease told of it."""
        if self._lease.term == term:
            self._lease.lose()

    def _leadership(self, term: int, group: asyncio.TaskGroup) -> Leadership:
        return Leadership(
            term=term,
            specs=self._specs,
            store=self._store,
            work=self._work,
            clock=self._clock,
            pace=self._pace,
            group=group,
            holds=lambda: self._lease.term == term,
            observe=self._observe,
        )

    def _observe(self, job: str, outcome: Outcome) -> None:
        self._metrics.job_runs.labels(job, outcome.result).inc()
        if outcome.result != "SKIPPED":
            self._metrics.job_seconds.labels(job).observe(outcome.seconds)
        if outcome.result == "SUCCESS":
            self._metrics.job_succeeded.labels(job).set(self._clock.now().timestamp())

    async def _leave(self) -> None:
        """Leave the jobs and the lease to the next one; what the store does not take now, it finds out by itself."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                if self._leading is not None and self._lease.term == self._leading.term:
                    await self._leading.end()
                await self._lease.release()
        except (KalendsError, TimeoutError) as error:
            log.warning("the lease was not given back", reason=str(error))

    async def _follow(self) -> None:
        """Keep what is known of the jobs fresh until cancelled; after a failure of the store it starts over."""
        waits = pauses(first=0.2, longest=5.0)
        while True:
            try:
                async with aclosing(self._store.watch()) as jobs:
                    async for job in jobs:
                        if job is not None:
                            self._hear(job)
            except KalendsError as error:
                log.warning("jobs cannot be followed", kind=error.code)
                await asyncio.sleep(next(waits))

    def _hear(self, job: StoredJob) -> None:
        name = job.state.name
        if name not in self._specs:
            return
        known = self._known.get(name)
        if known is None or job.revision > known.revision:
            self._known[name] = job
            self._metrics.job_paused.labels(name).set(1 if job.state.is_paused else 0)
            if job.state.last_result == "SUCCESS" and job.state.last_run_at is not None:
                self._metrics.job_succeeded.labels(name).set(job.state.last_run_at.timestamp())
        if self._leading is not None:
            self._leading.heed(job)

    async def jobs(self) -> Sequence[JobState]:
        """Every job, in the order of the settings: as this process knows it if it leads, else as it is stored.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        led = {} if self._leading is None else self._leading.states
        stored = {} if len(led) == len(self._specs) else await self._store.all()
        return [led.get(name) or self._described(spec, stored.get(name)) for name, spec in self._specs.items()]

    async def pause(self, name: str) -> JobState:
        """No more runs but those that are asked for, until it is resumed; also over a restart.

        Raises:
            NotFound: there is no such job. And what the store raises.
        """
        return await self._change(name, lambda _, state: schedules.paused(state))

    async def resume(self, name: str) -> JobState:
        """Runs again from the next due time on.

        Raises:
            NotFound: there is no such job. And what the store raises.
        """
        return await self._change(name, lambda spec, state: schedules.resumed(spec, state, now=self._clock.now()))

    async def run_now(self, name: str) -> JobState:
        """Ask the leader for a run, as soon as none is under way; also of a paused job.

        Raises:
            NotFound: there is no such job. And what the store raises.
        """
        return await self._change(name, lambda _, state: schedules.asked_for(state))

    async def reset_checkpoint(self, name: str) -> JobState:
        """The next run has nothing to go by and deals with everything.

        Raises:
            NotFound: there is no such job. And what the store raises.
        """
        return await self._change(name, lambda _, state: schedules.checkpoint_reset(state))

    async def _change(self, name: str, decide: Callable[[JobSpec, JobState], JobState]) -> JobState:
        spec = self._specs.get(name)
        if spec is None:
            raise NotFound("no such job")
        job = await self._store.change(name, lambda state: decide(spec, state))
        self._hear(job)
        led = {} if self._leading is None else self._leading.states
        return led.get(name) or self._described(spec, job)

    def _described(self, spec: JobSpec, job: StoredJob | None) -> JobState:
        """A job that no leader has seen yet is described by what is planned."""
        if job is not None and job.state.cron:
            return job.state
        return schedules.taken_over(spec, None if job is None else job.state, now=self._clock.now(), term=0)

    def health(self) -> Sequence[Health]:
        """Whether somebody leads, and whether the last run of every job went well.

        That nobody leads is said once this process has looked for so long that somebody should: a start is no failure.
        """
        states = {name: job.state for name, job in self._known.items()}
        states |= {} if self._leading is None else self._leading.states
        failed = [name for name in self._specs if name in states and states[name].last_result == "FAILED"]
        led = self._leading is not None or self._lease.is_held or self._clock.monotonic() < self._patient_until
        state = "up" if led and not failed else "degraded"
        if state != self._state:
            self._state, self._since = state, self._clock.now()
        detail = f"the last run failed: {', '.join(failed)}" if led else "no scheduler leads; nothing is begun"
        step = "`kalends scheduler status` says why" if led else "it is tried again by itself; see whether nats answers"
        shown = ("", "") if state == "up" else (detail, step)
        return [Health(name="scheduler", state=state, since=self._since.isoformat(), detail=shown[0], next_step=shown[1], required=False)]
