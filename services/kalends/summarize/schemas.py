"""What summarize reads and answers as JSON."""

from datetime import date

from msgspec import Struct


class TocRebuildIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the calendar to write anew: of ``memory`` (none: of every memory of the tenant), from ``from_date`` on."""

    memory: str | None = None
    from_date: date | None = None
    dry_run: bool = False
