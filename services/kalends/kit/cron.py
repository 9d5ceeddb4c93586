"""Cron expressions in UTC: five fields, or six with the seconds first.

A newcomer would get wrong: where both the day of the month and the day of the week are restricted, either is enough, as in every cron.
"""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


def next_after(expression: str, moment: datetime) -> datetime:
    """The first moment, a whole second in UTC, that is later than *moment* and that *expression* names.

    Raises:
        ValueError: *expression* is no cron expression or names no moment of the next fifty years, or *moment* has no offset.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without an offset")
    second = moment.astimezone(UTC).replace(microsecond=0)
    try:
        return next(CronSim(expression, second))
    except (CronSimError, AssertionError) as error:
        raise ValueError(f"{expression!r} is no cron expression: {str(error).lower() or 'fields that do not go together'}") from error
    except (StopIteration, OverflowError) as error:
        raise ValueError(f"{expression!r} names no moment after {second.isoformat()}") from error
