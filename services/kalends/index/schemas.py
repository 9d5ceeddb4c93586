"""What index reads and answers as JSON: rebuilds and dead letters."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct


class ReindexIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which projection to rebuild from the log while it serves."""

    projection: Literal["lexical", "vector", "all"] = "all"
    dry_run: bool = False


class CompactionQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which store is to give back disk space; one that this installation does not have has nothing to give."""

    store: Annotated[
        Literal["all", "lexical", "vector", "timeline", "calendar"], Meta(description="The store that gives back disk space")
    ] = "all"


class DeadLetterOut(Struct, frozen=True, kw_only=True):
    """A message that could not be indexed: where it is and why; never what it says."""

    dead_letter_id: str
    stream: str
    sequence: int
    consumer: str
    reason: str
    deliveries: int
    at: datetime


class DeadLetterList(Struct, frozen=True, kw_only=True):
    """Dead letters, oldest first."""

    items: list[DeadLetterOut]
    next_cursor: str | None = None


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay did."""

    dead_letter_id: str
    state: Literal["replayed"]


class NoQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a list goes on."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class DependencyOut(Struct, frozen=True, kw_only=True):
    """One dependency: ``up``, ``degraded`` or ``down``, since when, and what to do."""

    name: str
    state: str
    since: str
    detail: str
    next_step: str
    required: bool


class LagOut(Struct, frozen=True, kw_only=True):
    """How far a projection is behind the log."""

    events: int
    seconds: float


class CalendarOut(Struct, frozen=True, kw_only=True):
    """What is still to be written of the calendar: days of sessions to be cut, periods to be rolled, and since when the oldest waits.

    A session that still talks waits until it is quiet.
    """

    units_due: int
    periods_due: int
    waiting_s: float


class StatusOut(Struct, frozen=True, kw_only=True):
    """The instance as a whole. ``mode``: up, or the roles that this process serves."""

    version: str
    mode: str
    state: str
    dependencies: list[DependencyOut]
    lag: dict[str, LagOut]
    generations: dict[str, str]
    digests: dict[str, str]
    models: dict[str, str]
    calendar: CalendarOut | None = None
    last_backup: str | None = None
    dead_letters: int = 0
    format: int = 0
