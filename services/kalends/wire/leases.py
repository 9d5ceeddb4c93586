"""Leases: at most one of several processes does something, and each holder is known by a number that grows.

Belongs here: taking, keeping and giving back. Does not belong here: what is done under it. A newcomer would get wrong: no two machines'
clocks are compared. Who wants the lease takes it once the record has stayed the same for long enough by their *own* clock; who holds it
stops to believe so a little earlier, counted from before the last renewal was sent. And as a process can stand still at any moment, what
is written under a lease carries its ``term``, so that a late write can be refused. A record that the disk lost is waited out like a holder
that is dead, and no term was ever as large as the seconds since 1970.
"""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

KIND = "lease"
_OWNER = "instance"
_BELIEVED = 0.7
_UNCHANGED = 0.8
"""Shares of the lease's time: a holder trusts a renewal for the first, and another may take it after the second. What lies between is for
clocks that do not run alike, the rest for a successor to notice, so that a dead holder is replaced within the whole time."""

_UNKNOWN = "?"
"""Who holds a lease whose record is lost; the name of no process."""

_RENEWALS = 4
_LOOKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    term: int
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    revision: int
    since: float
    ttl_s: float
    is_free: bool


class Lease:
    """One lease as one process sees it: call ``attempt`` again and again, ``pause_s`` seconds apart.

    *holder* must be unique to the process's run. Within *lease_s* seconds of its death a holder is replaced. *alone*: nobody else can be
    there, so an earlier holder is dead and is not waited for.
    """

    def __init__(self, records: Records, *, name: str, holder: str, lease_s: float, clock: Clock, alone: bool = False) -> None:
        self._records = records
        self._name = name
        self._holder = holder
        self._lease_s = lease_s
        self._clock = clock
        self._alone = alone
        self._held: _Held | None = None
        self._seen: _Seen | None = None

    @property
    def term(self) -> int | None:
        """The number of our holding, while we may believe that we hold it; else None."""
        if self._held is None or self._clock.monotonic() >= self._held.until:
            return None
        return self._held.term

    @property
    def is_held(self) -> bool:
        """Whether somebody holds it, as far as this process has seen."""
        if self.term is not None:
            return True
        seen = self._seen
        return seen is not None and not seen.is_free and self._clock.monotonic() - seen.since < seen.ttl_s

    @property
    def replaced_within_s(self) -> float:
        """Within so long a holder that died is replaced."""
        return self._lease_s

    @property
    def pause_s(self) -> float:
        """How long to wait before the next ``attempt``."""
        return self._lease_s / (_RENEWALS if self.term is not None else _LOOKS)

    async def attempt(self) -> int | None:
        """Renew the lease, or take it if it is free; its term, or None while it is another's.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer; what we hold we hold until it runs out. Damaged: it is not what a
            lease is.
        """
        stored, revision = await self._read()
        self._look(stored, revision=revision)
        if stored.holder != self._holder and not self._may_take(stored):
            self._held = None
            return None
        # also where the record names us and we do not know it: a write of ours whose answer was lost
        ours = stored.holder == self._holder
        term, beat = (stored.term, stored.beat + 1) if ours else (stored.term + 1, 0)
        wanted = pb.Lease(holder=self._holder, term=term, beat=beat, ttl_s=self._lease_s * _UNCHANGED)
        before = self._clock.monotonic()
        try:
            revision = await self._records.put(KIND, _OWNER, self._name, wanted.SerializeToString(), revision=revision)
        except Conflict:
            self._held = None
            return None
        self._held = _Held(term=wanted.term, until=before + self._lease_s * _BELIEVED)
        self._look(wanted, revision=revision)
        return self.term

    async def release(self) -> None:
        """Give it back, so that another need not wait; if we do not hold it, nothing happens.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer; the lease runs out by itself.
        """
        self._held = None
        stored, revision = await self._read()
        if stored.holder != self._holder:
            return
        given_back = pb.Lease(term=stored.term, ttl_s=stored.ttl_s)
        try:
            revision = await self._records.put(KIND, _OWNER, self._name, given_back.SerializeToString(), revision=revision)
        except Conflict:
            return  # it is another's already
        self._look(given_back, revision=revision)

    async def _read(self) -> tuple[pb.Lease, int]:
        """The lease as it is stored, and its revision; of one that the disk lost nobody knows the holder or the term."""
        try:
            record = await self._records.get(KIND, _OWNER, self._name)
        except Damaged:
            return pb.Lease(holder=_UNKNOWN, term=int(self._clock.now().timestamp()), ttl_s=self._lease_s * _UNCHANGED), 0
        return (pb.Lease(), 0) if record is None else (_decode(record), record.revision)

    def lose(self) -> None:
        """Believe no longer that we hold it: somebody with a higher term was seen."""
        self._held = None

    def _look(self, stored: pb.Lease, *, revision: int) -> None:
        if self._seen is None or self._seen.revision != revision:
            since = self._clock.monotonic()
            self._seen = _Seen(revision=revision, since=since, ttl_s=max(stored.ttl_s, 0.0), is_free=not stored.holder)

    def _may_take(self, stored: pb.Lease) -> bool:
        if not stored.holder or self._alone:
            return True
        # the time that its holder goes by, which may be set otherwise than ours
        return self._seen is not None and self._clock.monotonic() - self._seen.since >= self._seen.ttl_s


def _decode(record: Record) -> pb.Lease:
    try:
        return pb.Lease.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the record of lease {record.name!r} cannot be read") from error
