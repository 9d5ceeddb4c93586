"""Times as people type and read them.

Belongs here: reading ``--from`` and the like, printing times. Does not belong here: arithmetic on events. A newcomer would get wrong: a
time without an offset is UTC, on every machine alike.
"""

from datetime import UTC, datetime
from typing import Any

import click


class Moment(click.ParamType[datetime]):
    """An RFC 3339 time, or a date, which means its first moment in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware moment in UTC.

        Raises:
            BadParameter: it is neither a time nor a date.
        """
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-09-14 or 2026-09-14T08:30:00Z", param, ctx)


def brief(text: str) -> str:
    """An RFC 3339 time for people, in UTC: only the time of day if it is of today; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{moment:%H:%M:%S}" if moment.date() == datetime.now(UTC).date() else f"{moment:%Y-%m-%d %H:%M}"


def shown(moment: datetime | None) -> str:
    """A moment for people: UTC, to the minute."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
