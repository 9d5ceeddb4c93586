"""Stamps: who wrote a message and which acks it had seen, so that an audit of the log can tell a lost ack from one that never was.

Belongs here: the counts of this process. Does not belong here: what is stamped. A newcomer would get wrong: a number whose append failed
or met a duplicate may never reach the log, and a count with such a hole would raise a false alarm for ever; the writer then takes a new
name and counts from one again.
"""

import itertools
import secrets
from collections.abc import Sequence

from kalends.wire.envelopes import Stamp


class Stamps:
    """The stamps of one *service* in one process."""

    def __init__(self, service: str = "ingest") -> None:
        self._service = service
        self._begin()

    def issue(self, count: int) -> list[Stamp]:
        """*count* stamps; each must be settled."""
        numbers = list(itertools.islice(self._numbers, count))
        self._unacked.update(numbers)
        acked_up_to = min(self._unacked) - 1
        return [Stamp(writer=self._writer, number=number, acked_up_to=acked_up_to) for number in numbers]

    def settle(self, stamps: Sequence[Stamp], *, stored: bool) -> None:
        """What became of *stamps*: all of them are *stored* in the log, or that is not so or not known of some."""
        if not stamps or stamps[0].writer != self._writer:
            return  # a name that is no longer used
        if stored:
            self._unacked.difference_update(stamp.number for stamp in stamps)
        else:
            self._begin()

    def _begin(self) -> None:
        self._writer = f"{self._service}-{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)
        self._unacked: set[int] = set()
