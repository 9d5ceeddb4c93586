"""The log of an installation with its archive, as a process has both that starts now.

Belongs here: copying and checking. Does not belong here: what must come of it. A newcomer would get wrong: nothing is remembered from one
use to the next, so each is as after a restart.
"""

from dataclasses import dataclass, field
from pathlib import Path

from kalends.adapters.embedded.clock import SystemClock
from kalends.backups.archiving import ArchiveLog
from kalends.backups.chain_checking import CheckArchive, Verdict
from kalends.backups.chains import Chain
from kalends.backups.inventories import Inventories
from kalends.backups.record_checking import CheckRecords
from kalends.domain.positions import Position
from kalends.edge.metrics import Metrics, new_metrics
from kalends.kit.traffic import Traffic
from kalends.ports.records import Records
from kalends.settings import ArchiveSettings
from kalends.wire import envelopes
from kalends.wire.leases import Lease
from tests.support.backups import DIARY, ELSEWHERE, NOTES, SIGNER, Place


@dataclass(kw_only=True)
class Archived:
    """A place whose log is archived."""

    place: Place
    store: str = "file:///archive"
    metrics: Metrics = field(default_factory=lambda: new_metrics(version="test"))

    @property
    def records(self) -> Records:
        """The records that are looked through, and that know of the archive."""
        return self.place.bus.records

    @property
    def folder(self) -> Path:
        """Where the objects are."""
        return self.place.root / "log" / self.place.log_id

    @property
    def chain(self) -> Chain:
        """As a process has it that starts now."""
        place = self.place
        return Chain(
            archive=place.archive, records=self.records, wrapper=place.wrapper, signer=SIGNER, log_id=place.log_id, place=self.store
        )

    @property
    def copier(self) -> ArchiveLog:
        """As a process has it that starts now."""
        clock = SystemClock()
        return ArchiveLog(
            chain=self.chain,
            source=self.place.bus.log,
            lease=Lease(self.records, name="archive", holder="test", lease_s=5, clock=clock),
            clock=clock,
            traffic=Traffic(),
            metrics=self.metrics,
            settings=ArchiveSettings(),
        )

    @property
    def inventories(self) -> Inventories:
        """As a process has them that starts now."""
        return Inventories(archive=self.place.archive, wrapper=self.place.wrapper, signer=SIGNER, log_id=self.place.log_id)

    async def check(self, *, accept_lost: bool = False) -> Verdict:
        """Check it, and the records."""
        clock, traffic = SystemClock(), Traffic()
        records = CheckRecords(records=self.records, inventories=self.inventories, clock=clock, traffic=traffic)
        check = CheckArchive(chain=self.chain, records=records, source=self.place.bus.log, clock=clock, traffic=traffic)
        return await check(accept_lost=accept_lost)

    async def places_of(self, ids: list[str]) -> list[Position]:
        """Where the log has events."""
        found = []
        for scope in (NOTES, DIARY, ELSEWHERE):
            async for messages in self.place.bus.log.history(scope, after={}, upto=await self.place.bus.log.heads(), limit=500):
                found += [one.position for one in messages if envelopes.parse(one.body).event_id in ids]
        return found
