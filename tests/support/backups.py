"""An installation without services, and an archive: what tests of backups work on.

Belongs here: appending, erasing, backing up and restoring as processes do it. Does not belong here: what must come of it. A newcomer would
get wrong: an erasure here leaves its message and destroys a key, and takes no message out, just as in a backup that was made before.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kalends.adapters.embedded.archive import FolderArchive
from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.embedded.kek import FileWrapper
from kalends.adapters.nats import NatsBus
from kalends.backups.catalogue import Catalogue
from kalends.backups.copies import Copies
from kalends.backups.notes import ErasureNotes
from kalends.backups.replaying import RestoreAll
from kalends.backups.restoring import RestoreMemory, Wish
from kalends.backups.taking import Sources, TakeBackup, Wanted
from kalends.backups.verifying import VerifyBackup
from kalends.domain.backups import Selection
from kalends.domain.events import Event, EventId, Facets, event_key, microseconds, moment, new_ulid
from kalends.domain.queries import tag
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import signatures
from kalends.kit.traffic import Traffic
from kalends.ports.log import Draft
from kalends.settings import BackupSettings
from kalends.wire import envelopes
from kalends.wire.canaries import CanaryStore
from kalends.wire.documents import DocumentStore
from kalends.wire.envelopes import Erased, Stamp
from kalends.wire.erasures import ErasureStore
from kalends.wire.manifests import Manifest
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.seal import check_seal
from kalends.wire.vault import Vault, key_reference
from tests.support.broker import fresh_bus

NOTES, DIARY = (Scope(Tenant("acme"), MemoryName(name)) for name in ("notes", "diary"))
ELSEWHERE = Scope(Tenant("other"), MemoryName("notes"))
START = datetime(2026, 3, 1, tzinfo=UTC)
SIGNER = signatures.Signer(bytes(range(32)))
EVERYTHING = Selection(kind="all")
OF_NOTES = Selection(kind="memory", tenant="acme", memory="notes")


@dataclass(kw_only=True)
class Place:
    """An installation and an archive."""

    bus: NatsBus
    wrapper: FileWrapper
    archive: FolderArchive
    root: Path
    log_id: str = ""
    settings: BackupSettings = field(default_factory=BackupSettings)
    forgotten: list[EventId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vault = Vault(keys=self.bus.keys, wrapper=self.wrapper)
        self.memories = MemoryRegistry(self.bus.records, dedicate=self.bus.log.dedicate)
        self.canaries = CanaryStore(records=self.bus.records, keys=self.bus.keys, vault=self.vault)
        self.documents = DocumentStore(records=self.bus.records, vault=self.vault)
        self.erasures = ErasureStore(records=self.bus.records, keys=self.bus.keys, vault=self.vault)
        self.notes = ErasureNotes(archive=self.archive, wrapper=self.wrapper)
        self.catalogue = Catalogue(archive=self.archive, wrapper=self.wrapper)
        self.copies = Copies(self.archive, self.notes)
        self.sources = Sources(log=self.bus.log, keys=self.bus.keys, records=self.bus.records, ledger=self.bus.ledger, audit=self.bus.audit)

    async def said(self, scope: Scope, number: int, *, session: str = "one", at_us: int | None = None, words: str | None = None) -> EventId:
        """Append an event; it is recorded *number* seconds after the start, unless *at_us* says otherwise."""
        recorded = START + timedelta(seconds=number) if at_us is None else moment(at_us)
        event = Event(
            id=new_ulid(recorded, randomness=number.to_bytes(10)),
            facets=Facets(session_id=session, kind="message"),
            text=words or f"{scope.memory} says {number} in {session}",
            occurred_at=recorded,
            recorded_at=recorded,
        )
        reference = key_reference(scope, session)
        box = (await self.vault.boxes_for_writing(scope, [reference]))[reference]
        mac = envelopes.content_mac(event, box)
        stamp = Stamp(writer="test", number=number + 1, acked_up_to=0)
        body = envelopes.seal_event(event, scope=scope, key_reference=reference, box=box, mac=mac, stamp=stamp)
        await self.bus.log.append([Draft(scope=scope, message_id=str(event.id), body=body, headers={"traceparent": f"t{number}"})])
        return event.id

    async def fill(self, scope: Scope, count: int, *, first: int = 0, isolation: str = "shared") -> list[EventId]:
        """Make the memory, and append events in sessions of five."""
        await self.memories.create(Memory(scope=scope, isolation=isolation, description="of a test", created_us=1))
        return [await self.said(scope, number, session=f"s{number // 5}") for number in range(first, first + count)]

    async def erase(self, scope: Scope, event_ids: Sequence[EventId], *, session: str | None = None, at_us: int | None = None) -> bytes:
        """What an erasure leaves: its message, and a session's key destroyed; the messages stay, as they do in a backup."""
        said = Erased(
            erasure_id=new_ulid(datetime.now(UTC)),
            keys=tuple(event_key(scope, one) for one in event_ids),
            sessions=() if session is None else (tag("session_id", session),),
        )
        body = envelopes.erasure(said, scope=scope, recorded_us=at_us or microseconds(datetime.now(UTC)))
        await self.bus.log.append([Draft(scope=scope, message_id=f"erase-{said.erasure_id}", body=body)])
        if session is not None:
            await self.bus.keys.destroy(scope, [key_reference(scope, session)])
            self.vault.clear()
        return body

    async def back_up(self, selection: Selection = EVERYTHING, *, previous: str | None = None, backup_id: str = "") -> Manifest:
        """Make a backup."""
        now = datetime.now(UTC)
        wanted = Wanted(backup_id=backup_id or new_ulid(now), made_at=now, selection=selection, previous=previous)
        return await self.take(wanted)

    @property
    def take(self) -> TakeBackup:
        """As a process has it that starts now."""
        return TakeBackup(
            sources=self.sources,
            archive=self.archive,
            catalogue=self.catalogue,
            wrapper=self.wrapper,
            signer=SIGNER,
            log_id=self.log_id,
            traffic=Traffic(),
            clock=SystemClock(),
            settings=self.settings,
        )

    @property
    def verify(self) -> VerifyBackup:
        """As a process has it that starts now."""
        return VerifyBackup(catalogue=self.catalogue, copies=self.copies, keys=self.bus.keys, wrapper=self.wrapper)

    @property
    def restore(self) -> RestoreMemory:
        """As a process has it that starts now; what is to be erased is erased as ``erase`` does it."""

        async def forget(scope: Scope, event_ids: tuple[EventId, ...], *, by: str, erasure_id: EventId) -> None:
            self.forgotten += event_ids
            await self.erase(scope, event_ids)

        return RestoreMemory(
            catalogue=self.catalogue,
            copies=self.copies,
            sources=self.sources,
            registry=MemoryRegistry(self.bus.records, dedicate=self.bus.log.dedicate),
            store=self.documents,
            erasures=self.erasures,
            vault=Vault(keys=self.bus.keys, wrapper=self.wrapper),
            wrapper=self.wrapper,
            forget=forget,
            traffic=Traffic(),
        )

    @property
    def replay(self) -> RestoreAll:
        """What restores everything."""
        return RestoreAll(catalogue=self.catalogue, copies=self.copies, sources=self.sources, erasures=self.erasures, wrapper=self.wrapper)

    async def events(self, scope: Scope) -> dict[EventId, Event]:
        """The events that the log has of a memory and that open, but for those that its erasures name."""
        found: dict[EventId, Event] = {}
        gone: set[str] = set()
        vault = Vault(keys=self.bus.keys, wrapper=self.wrapper)
        async for messages in self.bus.log.history(scope, after={}, upto=await self.bus.log.heads(), limit=500):
            for message in messages:
                sealed = envelopes.parse(message.body)
                if sealed.is_erasure:
                    gone.update(envelopes.erased(sealed).keys)
                    continue
                boxes = await vault.boxes(scope, [sealed.key_reference])
                if sealed.key_reference in boxes:
                    content = envelopes.unseal(sealed, boxes[sealed.key_reference])
                    assert isinstance(content, Event), content
                    found[content.id] = content
        return {event_id: event for event_id, event in found.items() if event_key(scope, event_id) not in gone}

    async def bodies(self, scope: Scope) -> list[bytes]:
        """What the log has of a memory."""
        history = self.bus.log.history(scope, after={}, upto=await self.bus.log.heads(), limit=500)
        return [message.body async for messages in history for message in messages]


def wish(backup: Manifest, *, into: str = "copy", to_us: int | None = None, replace: bool = False, made_us: int = 5) -> Wish:
    """A restore of the notes."""
    target = NOTES if replace else Scope(NOTES.tenant, MemoryName(into))
    return Wish(
        operation_id=new_ulid(START, randomness=into.encode().rjust(10)[:10]),
        backup_id=backup.backup_id,
        source=NOTES,
        target=target,
        to_us=to_us,
        replace=replace,
        made_us=made_us,
        by="someone",
    )


@asynccontextmanager
async def installed(root: Path) -> AsyncIterator[Place]:
    """An empty installation with the key file and the archive that are in *root*."""
    async with fresh_bus() as bus:
        archive = FolderArchive(root / "archive")
        place = Place(bus=bus, wrapper=FileWrapper.open(root / "kek"), archive=archive, root=root / "archive")
        place.log_id = await check_seal(bus.records, place.wrapper)
        yield place
        await archive.close()
