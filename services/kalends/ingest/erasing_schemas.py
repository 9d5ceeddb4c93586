"""The shapes of requests and answers about erasures and holds, as JSON. A newcomer would get wrong: exactly one selector must be given."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from kalends.ingest.approval_routes import ApprovalOut

Name = Annotated[str, Meta(min_length=1, max_length=2000)]
Scalar = str | int | float | bool | None
UNDO_MAX_S = 30 * 24 * 3600


class SelectorIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is meant: one of these; ``from`` ≤ occurred_at < ``to`` together are one."""

    event_ids: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    session_id: Name | None = None
    actor: Name | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = field(name="from", default=None)
    until: Annotated[datetime, Meta(tz=True)] | None = field(name="to", default=None)
    document_id: Name | None = None
    metadata: Annotated[dict[Name, Scalar], Meta(min_length=1, max_length=32)] | None = None
    label: Annotated[str, Meta(max_length=64)] | None = None
    everything: bool = False


class ErasureIn(SelectorIn, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to forget. ``dry_run`` only counts; for ``undo_s`` seconds it is only hidden and can be undone."""

    dry_run: bool = False
    reason: Literal["request", "consent_withdrawn", "retention", "legal", "other"] = "request"
    undo_s: Annotated[int, Meta(ge=0, le=UNDO_MAX_S)] = 0


class TenantErasureIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every memory of the tenant, with all that is in it."""

    everything: Literal[True]
    reason: Literal["request", "consent_withdrawn", "retention", "legal", "other"] = "request"
    undo_s: Annotated[int, Meta(ge=0, le=UNDO_MAX_S)] = 0
    dry_run: bool = False


class RemoveQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a memory is erased."""

    undo_s: Annotated[int, Meta(ge=0, le=UNDO_MAX_S)] = 0
    dry_run: bool = False


class ErasureOut(Struct, frozen=True, kw_only=True):
    """An erasure. ``state``: hidden, unreadable, erased or undone, and in a dry run ``planned``; ``selector`` is its kind.

    ``undoable``: it can still be undone, until ``undo_until``. ``receipt``: there is one. ``approval``: a second person must approve first;
    then ``state`` is ``waiting`` and nothing is hidden yet.
    """

    erasure_id: str
    memory: str
    selector: str
    state: str
    reason: str
    requested_by: str
    requested_at: datetime | None
    undo_until: datetime | None
    undoable: bool
    times: dict[str, datetime]
    counts: dict[str, int]
    receipt: bool
    dry_run: bool = False
    approval: ApprovalOut | None = None


class ErasureList(Struct, frozen=True, kw_only=True):
    """Erasures, newest first."""

    items: list[ErasureOut]
    next_cursor: str | None = None


class TenantErasureOut(Struct, frozen=True, kw_only=True):
    """One erasure for each memory; none, and the ``approval``, if a second person must approve first."""

    items: list[ErasureOut]
    approval: ApprovalOut | None = None


class ErasuresQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the list goes on."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class HoldIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must not be erased: everything, a session, or a stretch of time."""

    session_id: Name | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = field(name="from", default=None)
    until: Annotated[datetime, Meta(tz=True)] | None = field(name="to", default=None)
    everything: bool = False


class HoldOut(Struct, frozen=True, kw_only=True):
    """A hold. ``too_late``: erasures that were under way when it was set, which it does not stop."""

    name: str
    set_by: str
    set_at: datetime
    session_id: str | None = None
    since: datetime | None = field(name="from", default=None)
    until: datetime | None = field(name="to", default=None)
    everything: bool = False
    too_late: list[str] = []


class HoldList(Struct, frozen=True, kw_only=True):
    """Holds, by name."""

    items: list[HoldOut]


class Released(Struct, frozen=True, kw_only=True):
    """A hold that is no more."""

    name: str
