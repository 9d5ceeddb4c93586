"""Backups, schedules and restores: what is due, what is kept, and what is shown.

Belongs here: decisions over times and names. Does not belong here: asking anybody. A newcomer would get wrong: of several due times that
were missed only the newest is made up for; and a backup that is made has a name made of its due time, so making it twice makes it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim

from kalends_operator.desired.conditions import Condition, Note, Truth, merged, moment, stamp, transitions
from kalends_operator.desired.seen import SeenBackup

BAD: Mapping[str, Truth] = {"Complete": "False", "LastBackupSucceeded": "False"}
OVER = ("Succeeded", "Failed")
_LONGEST = 230
_PHASES = {"queued": "Pending", "running": "Running", "succeeded": "Succeeded", "failed": "Failed", "cancelled": "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A MemoryBackup of a schedule, as it stands."""

    name: str
    phase: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a schedule does now: begin the backup *name* for the time *due*; take those of *surplus* away; and when it is due next."""

    name: str
    due: datetime | None
    surplus: Sequence[str]
    following: datetime | None


def turn(schedule: str, *, name: str, since: datetime, now: datetime, keep: int, suspended: bool, made: Sequence[Made]) -> Turn:
    """What a schedule does now; *since* is the newest time that a backup was begun for, or when the schedule was made."""
    due = None if suspended else latest(schedule, after=since, now=now)
    whole = sorted((one for one in made if one.phase == "Succeeded"), key=lambda one: one.at, reverse=True)
    following = None if suspended else next(CronSim(schedule, now.astimezone(UTC)), None)
    named = "" if due is None else f"{name[:_LONGEST].rstrip('.-')}-{due:%Y%m%d%H%M}"
    return Turn(name=named, due=due, surplus=[one.name for one in whole[keep:]], following=following)


def latest(schedule: str, *, after: datetime, now: datetime) -> datetime | None:
    """The newest due time after *after* and not after *now*; None if there is none."""
    found = next(CronSim(schedule, now.astimezone(UTC), reverse=True), None)
    at_now = now.astimezone(UTC).replace(second=0, microsecond=0)
    if next(CronSim(schedule, at_now.replace(microsecond=0)), None) is not None and _is_due(schedule, at_now):
        found = at_now
    return found if found is not None and found > after else None


def _is_due(schedule: str, at: datetime) -> bool:
    before = datetime.fromtimestamp(at.timestamp() - 1, UTC)
    return next(CronSim(schedule, before), None) == at


def work_shown(
    seen: SeenBackup | None,
    *,
    before: Mapping[str, Any],
    generation: int,
    now: datetime,
    refusal: str = "",
    waiting: str = "",
    trouble: str = "",
    extra: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Note]]:
    """The status of a backup or a restore, and what is worth an event.

    *refusal*: why it may never be done; *waiting*: the approval that it waits for; *trouble*: why it cannot be asked about now.
    """
    past: Sequence[Mapping[str, Any]] = before.get("conditions") or []
    phase = "Failed" if refusal else "Waiting" if waiting else "Pending" if seen is None else _PHASES.get(seen.state, "Running")
    if trouble:
        phase = str(before.get("phase") or "Pending")
    conditions = [_complete(phase, refusal=refusal or ("" if seen is None else seen.error), trouble=trouble)]
    if waiting:
        message = f"a second person must approve {waiting}"
        conditions.append(Condition(type="Approved", status="Unknown", reason="Pending", message=message))
    over = phase in OVER
    said: dict[str, Any] = {
        **{name: value for name, value in before.items() if name not in {"conditions", "error"}},
        "phase": phase,
        "observedGeneration": generation,
        "conditions": merged(past, conditions, at=now, generation=generation),
        "startedAt": before.get("startedAt") or (stamp(now) if seen is not None else None),
        "stoppedAt": before.get("stoppedAt") or (stamp(now) if over else None),
        "operationId": (seen.operation_id if seen is not None else "") or waiting or before.get("operationId"),
        "error": refusal or ("" if seen is None else seen.error) or trouble,
        **(extra or {}),
    }
    return {name: value for name, value in said.items() if value not in (None, "", {})}, transitions(past, conditions, bad=BAD)


def _complete(phase: str, *, refusal: str, trouble: str) -> Condition:
    if trouble:
        return Condition(type="Complete", status="Unknown", reason="Unavailable", message=trouble[:1000])
    if phase == "Failed":
        return Condition(type="Complete", status="False", reason="Failed", message=refusal[:1000])
    if phase == "Succeeded":
        return Condition(type="Complete", status="True", reason="Succeeded")
    return Condition(type="Complete", status="Unknown", reason=phase)


def schedule_shown(
    made: Sequence[Made], turned: Turn, *, before: Mapping[str, Any], generation: int, suspended: bool, now: datetime
) -> tuple[dict[str, Any], list[Note]]:
    """The status of a schedule, and what is worth an event."""
    past: Sequence[Mapping[str, Any]] = before.get("conditions") or []
    ended = sorted((one for one in made if one.phase in OVER), key=lambda one: one.at)
    last = ended[-1] if ended else None
    known: Truth = "Unknown" if last is None else "True" if last.phase == "Succeeded" else "False"
    ready = Condition(type="Ready", status="False" if suspended else "True", reason="Suspended" if suspended else "Scheduled")
    said_of_last = Condition(type="LastBackupSucceeded", status=known, reason="NoneYet" if last is None else last.phase)
    whole = [one for one in ended if one.phase == "Succeeded"]
    said: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merged(past, [ready, said_of_last], at=now, generation=generation),
        "lastScheduleTime": stamp(turned.due) if turned.due is not None else before.get("lastScheduleTime"),
        "lastSuccessfulTime": stamp(whole[-1].at) if whole else before.get("lastSuccessfulTime"),
        "nextScheduleTime": None if turned.following is None else stamp(turned.following),
        "lastBackup": turned.name or before.get("lastBackup"),
        "kept": len(made) - len(turned.surplus),
    }
    return {name: value for name, value in said.items() if value not in (None, "")}, transitions(past, [ready, said_of_last], bad=BAD)


def made_of(found: Sequence[Mapping[str, Any]]) -> list[Made]:
    """The MemoryBackups of a schedule as they were listed."""
    made = []
    for one in found:
        status, meta = one.get("status") or {}, one["metadata"]
        at = moment(status.get("stoppedAt")) or moment(meta.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC)
        made.append(Made(name=meta["name"], phase=status.get("phase", "Pending"), at=at))
    return made
