"""The format of what is kept: which one this version writes, which it reads, and what going from one to another takes.

Belongs here: numbers, and decisions about them. Does not belong here: where a log says its number (``wire.formats``), or any format
itself. A newcomer would get wrong: projections have no part in this number. They are built anew from the log whenever their own format
changes, so they bind nobody; only the log and its records do.
"""

from dataclasses import dataclass

from kalends.domain.errors import Invalid, Misconfigured

WRITTEN = 1
"""The format that this version writes."""
OLDEST = 1
"""The oldest format that this version reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Going from the format *begin* of a log to *end*: what is to be done, and whether the version before can still take over."""

    begin: int
    end: int
    steps: tuple[str, ...] = ()
    rollback: bool = True

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.steps:
            return f"nothing to do: the log is of format {self.begin}"
        way = "can" if self.rollback else "cannot"
        return f"{len(self.steps)} steps from format {self.begin} to {self.end}; the version before {way} take over afterwards"


def check(found: int, *, oldest: int = OLDEST, written: int = WRITTEN) -> None:
    """See that a log of the format *found* may be opened by a version that reads *oldest* to *written*.

    Raises:
        Misconfigured: it is too new or too old; the detail says what to do.
    """
    if found > written:
        raise Misconfigured(
            f"the log holds records of format {found}, and this version reads up to {written}: go back to the version that wrote them, or "
            "restore a backup of before into a new data folder; there is no other way back once a record of a new format was written"
        )
    if found < oldest:
        raise Misconfigured(
            f"the log is of format {found}, and this version reads {oldest} and later: open it with a version between and migrate it there"
        )


def plan(*, found: int, begin: int, end: int, oldest: int = OLDEST, written: int = WRITTEN) -> Migration:
    """What it takes to bring a log of the format *found* from *begin* to *end*.

    Raises:
        Invalid: the log is not of the format *begin*, or this version cannot write *end*; the detail says why.
    """
    check(found, oldest=oldest, written=written)
    if begin != found:
        raise Invalid(f"the log is of format {found}, not {begin}")
    if end > written:
        raise Invalid(f"this version writes format {written} and knows nothing of {end}")
    if end < found:
        raise Invalid(
            f"records of format {found} may have been written, and a version that writes {end} would not read them: restore a backup"
        )
    steps = tuple(f"records of format {number} are written from now on" for number in range(begin + 1, end + 1))
    return Migration(begin=begin, end=end, steps=steps, rollback=not steps)
