"""The scheduler's rows of the operation table."""

import msgspec

from kalends.domain.schedules import JobState
from kalends.edge.operations import Answer, Call, Operation
from kalends.scheduler import schemas
from kalends.scheduler.usecases import Scheduler


class JobRoutes:
    """``/scheduler/jobs``; every process answers alike, whether it leads or not."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def list(self, _: Call) -> Answer:
        """Every job, in the order of the settings."""
        return Answer(body=schemas.JobList(items=[_shown(state) for state in await self._scheduler.jobs()]))

    async def pause(self, call: Call) -> Answer:
        """No more runs but those that are asked for."""
        return Answer(body=_shown(await self._scheduler.pause(call.path["name"])))

    async def resume(self, call: Call) -> Answer:
        """Runs again from the next due time on."""
        return Answer(body=_shown(await self._scheduler.resume(call.path["name"])))

    async def run(self, call: Call) -> Answer:
        """A run as soon as none is under way; 202, because the leader begins it."""
        return Answer(body=_shown(await self._scheduler.run_now(call.path["name"])))

    async def reset_checkpoint(self, call: Call) -> Answer:
        """The next run deals with everything."""
        return Answer(body=_shown(await self._scheduler.reset_checkpoint(call.path["name"])))


def _shown(state: JobState) -> schemas.JobOut:
    return schemas.JobOut(
        job_name=state.name,
        cron=state.cron,
        is_paused=state.is_paused,
        is_running=state.is_running,
        last_run_at=state.last_run_at,
        next_run_at=state.next_run_at,
        run_count=state.run_count,
        error_count=state.error_count,
        last_result=state.last_result or None,
        last_error=state.last_error or None,
        last_duration_s=None if state.last_run_at is None else round(state.last_duration_s, 6),
        checkpoint=state.checkpoint or None,
    )


def operations(jobs: JobRoutes) -> list[Operation]:
    """The rows; all need ``admin``, because a job works on every memory."""
    rows = [
        ("scheduler.list", "GET", "/scheduler/jobs", "Jobs: when they are due, and how their runs went", jobs.list),
        ("scheduler.pause", "POST", "/scheduler/jobs/{name}/pause", "Let a job rest until it is resumed", jobs.pause),
        ("scheduler.resume", "POST", "/scheduler/jobs/{name}/resume", "Let a paused job run again", jobs.resume),
        ("scheduler.run", "POST", "/scheduler/jobs/{name}/run", "Run a job now, also a paused one", jobs.run),
        (
            "scheduler.reset_checkpoint",
            "POST",
            "/scheduler/jobs/{name}/reset-checkpoint",
            "Have the next run of a job deal with everything",
            jobs.reset_checkpoint,
        ),
    ]
    answers: dict[str, type[msgspec.Struct]] = {"scheduler.list": schemas.JobList}
    return [
        Operation(
            name=name,
            method=method,
            path=path,
            right="admin",
            summary=summary,
            handle=handle,
            answer=answers.get(name, schemas.JobOut),
            status=202 if name == "scheduler.run" else 200,
        )
        for name, method, path, summary, handle in rows
    ]
