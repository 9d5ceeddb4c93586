"""Conditions: what is true of a resource, since when, and what changed.

Belongs here: merging with what was written before. Does not belong here: deciding what is true (``memories``, ``erasures``, ``backups``). A
newcomer would get wrong: ``lastTransitionTime`` moves only when the status flips, not when reason or message do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that is so, is not, or is not known; *reason* is one word in CamelCase, *message* a sentence without secrets."""

    type: str
    status: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something to be said once as an event of the resource."""

    reason: str
    message: str
    warning: bool = False


def stamp(moment: datetime) -> str:
    """*moment* as Kubernetes writes times."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def moment(text: str | None) -> datetime | None:
    """The time that Kubernetes wrote as *text*; None for what is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def merged(before: Sequence[Mapping[str, Any]], now: Sequence[Condition], *, at: datetime, generation: int) -> list[dict[str, Any]]:
    """*now* as the API writes conditions; those that did not flip keep their time."""
    known = {one.get("type"): one for one in before}
    written = []
    for one in now:
        was = known.get(one.type)
        kept = was is not None and was.get("status") == one.status and bool(was.get("lastTransitionTime"))
        since = str(was["lastTransitionTime"]) if was is not None and kept else stamp(at)
        written.append(
            {
                "type": one.type,
                "status": one.status,
                "reason": one.reason,
                "message": one.message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return written


def transitions(before: Sequence[Mapping[str, Any]], now: Sequence[Condition], *, bad: Mapping[str, Truth]) -> list[Note]:
    """What is worth an event: a status or a reason that changed; *bad* says which status of a type is one to warn of.

    A condition that is seen for the first time and is not bad is worth one only if it is ``Ready``.
    """
    known = {one.get("type"): one for one in before}
    notes = []
    for one in now:
        was = known.get(one.type)
        if was is not None and was.get("status") == one.status and was.get("reason") == one.reason:
            continue
        warning = bad.get(one.type) == one.status
        if not warning and (one.status == "Unknown" or (was is None and (one.type, one.status) != ("Ready", "True"))):
            continue
        notes.append(Note(reason=one.reason, message=f"{one.type} is {one.status}: {one.message}".rstrip(": "), warning=warning))
    return notes
