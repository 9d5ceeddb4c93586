"""Jobs: the stored state of each, one record by name.

Belongs here: reading and writing job state, with compare-and-set always. Does not belong here: what a state means (``domain.schedules``) or
who may write it. A newcomer would get wrong: a leader that was replaced may still write late; it is refused because its successor has
written every job anew, under its own term, before it ran any.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import microseconds, moment
from kalends.domain.schedules import RESULTS, JobState, Result
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "job"
_OWNER = "scheduler"
_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job as it is stored; ``revision`` is what the next write must name, 0 for one that is not stored."""

    state: JobState
    revision: int


class JobStore:
    """The jobs of an instance; they belong to no tenant."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, name: str) -> StoredJob | None:
        """A job, or None if it was never written.

        Raises:
            Damaged: it cannot be read. Unavailable, DeadlineExceeded: the store does not answer.
        """
        record = await self._records.get(KIND, _OWNER, name)
        return None if record is None else _decode(record)

    async def all(self) -> Mapping[str, StoredJob]:
        """Every job by name; what cannot be read is left out and logged.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        found = (_readable(record) for record in await self._records.list(KIND, _OWNER))
        return {job.state.name: job for job in found if job is not None}

    async def put(self, state: JobState, *, revision: int) -> StoredJob:
        """Write *state* over the version *revision* (0: over none).

        Raises:
            Conflict: somebody else has written since. Unavailable, DeadlineExceeded: it is not known whether it was written.
        """
        written = await self._records.put(KIND, _OWNER, state.name, _encode(state), revision=revision)
        return StoredJob(state=state, revision=written)

    async def change(self, name: str, decide: Callable[[JobState], JobState]) -> StoredJob:
        """Replace a job by what *decide* makes of its newest version, again and again until nobody else writes in between.

        Raises:
            Conflict: somebody always did. Damaged: it cannot be read. Unavailable, DeadlineExceeded: the store does not answer.
        """
        for _ in range(_TRIES):
            found = await self.get(name) or StoredJob(state=JobState(name=name), revision=0)
            try:
                return await self.put(decide(found.state), revision=found.revision)
            except Conflict:
                continue
        raise Conflict(f"job {name!r} is written all the time; try again")

    async def watch(self) -> AsyncGenerator[StoredJob | None, None]:
        """Every job that exists now, then None once, then every change as it comes; what cannot be read is left out and logged.

        Raises:
            Unavailable, DeadlineExceeded: the store did not answer at the start.
        """
        async with aclosing(self._records.watch(KIND)) as records:
            async for record in records:
                if record is None:
                    yield None
                elif not record.deleted and (job := _readable(record)) is not None:
                    yield job


def _readable(record: Record) -> StoredJob | None:
    """A damaged record is an error for whoever asks for that job, and for nobody else."""
    try:
        return _decode(record)
    except Damaged as error:
        log.warning("record skipped", name=record.name, reason=error.detail)
        return None


def _encode(state: JobState) -> bytes:
    return pb.Job(
        name=state.name,
        cron=state.cron,
        is_paused=state.is_paused,
        is_running=state.is_running,
        last_run_us=_us(state.last_run_at),
        last_started_us=_us(state.last_started),
        next_run_us=_us(state.next_run_at),
        run_count=state.run_count,
        error_count=state.error_count,
        last_result=state.last_result,
        last_error=state.last_error,
        last_duration_s=state.last_duration_s,
        checkpoint=state.checkpoint,
        term=state.term,
        run_id=state.run_id,
        tries=state.tries,
        wanted=state.wanted,
        granted=state.granted,
        resets=state.resets,
        resets_done=state.resets_done,
    ).SerializeToString()


def _decode(record: Record) -> StoredJob:
    try:
        stored = pb.Job.FromString(record.value)
        state = _state(stored)
    except (DecodeError, OverflowError, ValueError) as error:
        raise Damaged(f"the record of job {record.name!r} cannot be read") from error
    if state.name != record.name:
        raise Damaged(f"the record of job {record.name!r} is another's")
    return StoredJob(state=state, revision=record.revision)


def _state(stored: pb.Job) -> JobState:
    return JobState(
        name=stored.name,
        cron=stored.cron,
        is_paused=stored.is_paused,
        is_running=stored.is_running,
        last_run_at=_moment(stored.last_run_us),
        last_started=_moment(stored.last_started_us),
        next_run_at=_moment(stored.next_run_us),
        run_count=stored.run_count,
        error_count=stored.error_count,
        last_result=RESULTS[RESULTS.index(cast("Result", stored.last_result))],
        last_error=stored.last_error,
        last_duration_s=stored.last_duration_s,
        checkpoint=stored.checkpoint,
        term=stored.term,
        run_id=stored.run_id,
        tries=stored.tries,
        wanted=stored.wanted,
        granted=stored.granted,
        resets=stored.resets,
        resets_done=stored.resets_done,
    )


def _us(at: datetime | None) -> int:
    return 0 if at is None else microseconds(at)


def _moment(us: int) -> datetime | None:
    return moment(us) if us else None
