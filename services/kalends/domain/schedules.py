"""Schedules: when a job is due, and what becomes of its state when a run begins, ends, fails, or its scheduler changes.

Belongs here: jobs, their state, and every change of it as a pure function. Does not belong here: cron arithmetic (``kit.cron``), running
anything (``scheduler``), storing (``wire.jobs``). A newcomer would get wrong: two parties change a job. People, through any process, change
``is_paused``, ``wanted`` and ``resets``; the leader changes everything else, and ``heeded`` brings the two together.
"""

import hashlib
import re
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Literal

from kalends.domain.errors import Misconfigured
from kalends.kit import cron

Result = Literal["", "SUCCESS", "FAILED", "SKIPPED"]
RESULTS: tuple[Result, ...] = ("", "SUCCESS", "FAILED", "SKIPPED")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 3600.0
_SET_BACK = timedelta(minutes=1)
"""A clock that is corrected by less is waited for; one that was set back by more would silence a job for as long."""

_FREQUENT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is to be done when: ``cron`` in UTC, the name of the ``task``, and the seconds until a run is given up.

    A run is put off by at most ``jitter_s``, so that not all jobs begin at once. ``catch_up``: runs that were missed while nobody led are
    made up for, all by one.
    """

    name: str
    cron: str
    task: str
    timeout_s: float
    jitter_s: float = 0.0
    catch_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """How a job is. Moments are aware and in UTC, None where there is none.

    ``last_run_at`` is when the last run ended, ``last_started`` when the newest began. ``checkpoint`` is when the last run that succeeded
    began (RFC 3339): everything older was dealt with. ``tries`` counts runs in a row that could not be done and come again soon. A run is
    asked for while ``wanted`` is more than ``granted``, the checkpoint to be forgotten while ``resets`` is more than ``resets_done``.
    """

    name: str
    cron: str = ""
    is_paused: bool = False
    is_running: bool = False
    last_run_at: datetime | None = None
    last_started: datetime | None = None
    next_run_at: datetime | None = None
    run_count: int = 0
    error_count: int = 0
    last_result: Result = ""
    last_error: str = ""
    last_duration_s: float = 0.0
    checkpoint: str = ""
    term: int = 0
    run_id: str = ""
    tries: int = 0
    wanted: int = 0
    granted: int = 0
    resets: int = 0
    resets_done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run went, in how many ``seconds``; ``error`` holds no content.

    ``again``: nothing was done, so it is tried again before the next due time.
    """

    result: Result
    seconds: float
    error: str = ""
    again: bool = False


def check(spec: JobSpec, *, now: datetime) -> None:
    """Refuse a job that cannot work.

    Raises:
        Misconfigured: its name, its cron expression or its times.
    """
    if not _NAME.fullmatch(spec.name) or not _NAME.fullmatch(spec.task):
        raise Misconfigured(f"job {spec.name!r}: names of jobs and tasks are 1 to 40 of a-z, 0-9 and inner dashes")
    if spec.timeout_s <= 0 or spec.jitter_s < 0:
        raise Misconfigured(f"job {spec.name}: a timeout is more than nothing, and a jitter not less")
    try:
        cron.next_after(spec.cron, now)
    except ValueError as error:
        raise Misconfigured(f"job {spec.name}: {error}") from error


def planned(spec: JobSpec, *, after: datetime) -> datetime | None:
    """When the next run begins: the next due time and its jitter; None once the expression names no moment any more."""
    try:
        due = cron.next_after(spec.cron, after)
    except ValueError:
        return None
    return due + jitter(spec, due=due)


def jitter(spec: JobSpec, *, due: datetime) -> timedelta:
    """How long the run of *due* is put off: the same in every process, and never past the middle of the time to the next one."""
    if not spec.jitter_s:
        return timedelta()
    longest = spec.jitter_s
    try:
        longest = min(longest, (cron.next_after(spec.cron, due) - due).total_seconds() / 2)
    except ValueError:
        longest = spec.jitter_s  # there is no next one to come too near to
    digest = hashlib.blake2b(f"{spec.name}\0{due.isoformat()}".encode(), digest_size=8).digest()
    return timedelta(seconds=longest * int.from_bytes(digest) / 2**64)


def is_frequent(spec: JobSpec, *, now: datetime) -> bool:
    """Whether the job runs more often than once a minute, so that not each run is worth a synced write."""
    try:
        first = cron.next_after(spec.cron, now)
        return cron.next_after(spec.cron, first) - first < _FREQUENT
    except ValueError:
        return False


def is_due(state: JobState, *, now: datetime) -> bool:
    """Whether a run is to begin: one at a time, because its time has come or because somebody asked, which works on a paused job too."""
    if state.is_running:
        return False
    return state.wanted > state.granted or (state.next_run_at is not None and state.next_run_at <= now)


def taken_over(spec: JobSpec, state: JobState | None, *, now: datetime, term: int, settle_s: float = 0.0) -> JobState:
    """The job of a leader that begins its *term*; None: a job that never was.

    Runs that were missed meanwhile become one run *settle_s* seconds from now, and so does one that its scheduler did not see the end of.
    """
    found = state or JobState(name=spec.name)
    begun = heeded(spec, replace(found, cron=spec.cron, term=term, is_running=False), found, now=now)
    if found.cron != spec.cron:
        begun = replace(begun, next_run_at=_unless_paused(begun, planned(spec, after=now)))
    missed = begun.next_run_at is not None and begun.next_run_at <= now
    if begun.is_paused or not (missed or found.is_running):
        return begun
    again = now + timedelta(seconds=settle_s) if spec.catch_up else planned(spec, after=now)
    return replace(begun, next_run_at=again)


def realigned(spec: JobSpec, state: JobState, *, now: datetime) -> JobState:
    """The job after the wall clock was set back: what was planned by the clock that was wrong may be far too late."""
    if state.is_paused or state.next_run_at is None:
        return state
    base = state.last_started
    reliable = base is not None and now < base <= now + _SET_BACK
    latest = planned(spec, after=base if base is not None and reliable else now)
    return replace(state, next_run_at=latest) if latest is not None and state.next_run_at > latest else state


def started(spec: JobSpec, state: JobState, *, now: datetime, run_id: str) -> JobState:
    """A run begins, and serves everybody who had asked for one."""
    onward = _unless_paused(state, planned(spec, after=now))
    return replace(state, is_running=True, last_started=now, run_id=run_id, granted=state.wanted, next_run_at=onward)


def ended(spec: JobSpec, state: JobState, outcome: Outcome, *, now: datetime, since: str) -> JobState:
    """A run ended; *since* is the checkpoint that it was given.

    A due time that passed meanwhile is not made up for: the run of the next one does that work too. A run that was skipped counts as none.
    """
    onward = state.next_run_at
    if onward is not None and onward <= now:
        onward = planned(spec, after=now)
    tries = state.tries + 1 if outcome.again else 0
    if outcome.again:
        soon = now + timedelta(seconds=min(_FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20), _LONGEST_PAUSE_S))
        onward = soon if onward is None else min(onward, soon)
    rested = replace(state, is_running=False, last_result=outcome.result, last_error=outcome.error, tries=tries)
    rested = replace(rested, next_run_at=_unless_paused(state, onward))
    if outcome.result == "SKIPPED":
        return rested
    done = replace(rested, last_run_at=now, last_duration_s=outcome.seconds, run_count=state.run_count + 1)
    if outcome.result == "FAILED":
        return replace(done, error_count=state.error_count + 1)
    if state.last_started is None or state.checkpoint != since:
        return done  # a checkpoint that was reset meanwhile stays so: this run had begun at the old one
    return replace(done, checkpoint=state.last_started.isoformat())


def paused(state: JobState) -> JobState:
    """No more runs but those that are asked for."""
    return replace(state, is_paused=True, next_run_at=None)


def resumed(spec: JobSpec, state: JobState, *, now: datetime) -> JobState:
    """Runs again from the next due time on; what was left out on purpose is not made up for."""
    return replace(state, is_paused=False, next_run_at=planned(spec, after=now)) if state.is_paused else state


def asked_for(state: JobState) -> JobState:
    """One run as soon as none is under way, also if it is paused."""
    return replace(state, wanted=state.wanted + 1)


def checkpoint_reset(state: JobState) -> JobState:
    """The next run has nothing to go by and deals with everything."""
    return replace(state, checkpoint="", resets=state.resets + 1)


def heeded(spec: JobSpec, mine: JobState, stored: JobState, *, now: datetime) -> JobState:
    """The leader's own state and what people have *stored* since."""
    found = replace(mine, is_paused=stored.is_paused, wanted=stored.wanted, resets=stored.resets)
    if found.resets != mine.resets_done:
        found = replace(found, checkpoint="", resets_done=found.resets)
    if found.is_paused:
        return replace(found, next_run_at=None)
    return found if found.next_run_at is not None else replace(found, next_run_at=planned(spec, after=now))


_PASSING = frozenset(
    {
        "is_running",
        "last_run_at",
        "last_started",
        "next_run_at",
        "run_count",
        "error_count",
        "last_duration_s",
        "checkpoint",
        "run_id",
        "tries",
    }
)


def is_news(stored: JobState, state: JobState) -> bool:
    """Whether the states differ in more than what every run changes, or a run has ended that is stored as under way."""
    if stored.is_running and not state.is_running:
        return True
    return any(getattr(stored, field.name) != getattr(state, field.name) for field in fields(JobState) if field.name not in _PASSING)


def _unless_paused(state: JobState, moment: datetime | None) -> datetime | None:
    return None if state.is_paused else moment
