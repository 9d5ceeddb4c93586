"""The format that a log says it is of: one record, which whoever opens the log reads first.

Belongs here: reading it. Does not belong here: what the number means (``domain.formats``). A newcomer would get wrong: a log without the
record is of format 1, so that the version before, which knows of no such record, and this one can serve it side by side.
"""

from kalends.domain import formats
from kalends.domain.errors import Damaged
from kalends.ports.records import Records

KIND = "format"
OWNER = "instance"
NAME = "log"
UNSAID = 1


async def check_format(records: Records) -> int:
    """The format of the log; nothing is written.

    Raises:
        Misconfigured: this version does not read it. Damaged: the record cannot be read. Unavailable, DeadlineExceeded: the store does
        not answer.
    """
    record = await records.get(KIND, OWNER, NAME)
    if record is None:
        return UNSAID
    try:
        found = int(record.value.decode("ascii"))
    except ValueError as error:
        raise Damaged("the record of the log's format cannot be read") from error
    formats.check(found)
    return found
