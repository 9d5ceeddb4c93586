"""The texts, numbers and moments that fields of the resources are made of, each with its bounds.

Belongs here: a type that more than one field has. Does not belong here: a struct. A newcomer would get wrong: every text needs a length and
every list a number of items, because the API server reckons the cost of a rule from them and refuses a CRD whose rules could cost too much.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from kalends_operator.crds.rules import matches

MEMORY_PATTERN = "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
_DNS = "[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"

MEMORY_RULE = "must be 1 to 40 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"


def _field(names: str, number: str, *, extra: str = "") -> str:
    """One field of a schedule: a list of numbers (or *names* of them), ranges and steps."""
    value = f"({number}|{names})" if names else number
    one = f"((\\*|{value}(-{value})?)(/[1-9][0-9]?)?{extra})"
    return f"{one}(,{one})*"


_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_WEEKDAYS = "MON|TUE|WED|THU|FRI|SAT|SUN"
_SCHEDULE = " ".join(
    (
        _field("", "[0-5]?[0-9]"),
        _field("", "([01]?[0-9]|2[0-3])"),
        _field("", "(0?[1-9]|[12][0-9]|3[01])", extra="|L"),
        _field(_MONTHS, "(0?[1-9]|1[0-2])"),
        _field(_WEEKDAYS, "[0-7]"),
    )
)

MemoryName = Annotated[str, Meta(min_length=1, max_length=40, extra={"rules": (matches(MEMORY_PATTERN, message=MEMORY_RULE),)})]
"""The name of a memory in Kalends."""

ObjectName = Annotated[
    str, Meta(min_length=1, max_length=253, extra={"rules": (matches(_DNS, message="must be the name of an object of Kubernetes"),)})
]
"""The name of an object in the same namespace."""

Schedule = Annotated[
    str,
    Meta(
        min_length=9,
        max_length=100,
        extra={"rules": (matches(_SCHEDULE, message="must be five fields: minute, hour, day of the month, month, day of the week"),)},
    ),
]
"""Cron in UTC."""

Moment = Annotated[datetime, Meta(tz=True)]
"""RFC 3339, with an offset."""

Digest = Annotated[str, Meta(max_length=128)]
"""A digest in hex."""

BackupId = Annotated[str, Meta(min_length=1, max_length=128)]
"""What Kalends calls a backup."""

Short = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=512)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Bound = Annotated[int, Meta(ge=1, le=1 << 53)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
