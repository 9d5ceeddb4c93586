"""The scheduler as a value."""

from collections.abc import Sequence

from kalends.domain import schedules
from kalends.domain.errors import Misconfigured
from kalends.domain.schedules import JobSpec
from kalends.edge.metrics import Metrics
from kalends.edge.services import Loop, Service
from kalends.ports.clock import Clock
from kalends.ports.work import Work
from kalends.scheduler import routes
from kalends.scheduler.leading import Pace
from kalends.scheduler.usecases import Scheduler
from kalends.wire.jobs import JobStore
from kalends.wire.leases import Lease


def build(
    jobs: Sequence[JobSpec],
    *,
    store: JobStore,
    lease: Lease,
    work: Work,
    clock: Clock,
    metrics: Metrics,
    pace: Pace | None = None,
) -> Service:
    """The scheduler from its jobs and ports: one loop, which leads while it holds *lease*.

    Raises:
        Misconfigured: a job cannot work, or two have one name.
    """
    now = clock.now()
    for job in jobs:
        schedules.check(job, now=now)
    if len({job.name for job in jobs}) != len(jobs):
        raise Misconfigured("two jobs have one name")
    scheduler = Scheduler(jobs=jobs, store=store, lease=lease, work=work, clock=clock, metrics=metrics, pace=pace or Pace())
    return Service(
        name="scheduler",
        operations=routes.operations(routes.JobRoutes(scheduler)),
        loops=[Loop(name="scheduler", run=scheduler.run)],
        health=scheduler.health,
    )
