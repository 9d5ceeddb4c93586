"""Taking a backup while everything serves.

Belongs here: which messages, keys and records go into which object, and the manifest that ends it. Does not belong here: the form of either
(``wire``). A newcomer would get wrong: nothing is opened. What was sealed is copied as it lies in the log, bounded by where the log ended
when the backup began; keys and records are copied after the messages, so that what a message needs is among them.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from kalends.backups.catalogue import Backup, Catalogue
from kalends.backups.recording import erasure_scopes, records_of, scopes_of
from kalends.domain import backups
from kalends.domain.backups import Selection
from kalends.domain.errors import Damaged, Invalid, NotFound
from kalends.domain.events import microseconds, moment
from kalends.domain.positions import Floors
from kalends.domain.scope import Scope
from kalends.kit import aead, failpoints
from kalends.kit.signatures import Signer
from kalends.kit.traffic import Traffic
from kalends.ports.archive import Archive
from kalends.ports.audit import AuditStore
from kalends.ports.clock import Clock
from kalends.ports.kek import Wrapper
from kalends.ports.keys import Keys
from kalends.ports.ledger import Ledger
from kalends.ports.log import Log, Message
from kalends.ports.records import Records
from kalends.settings import BackupSettings
from kalends.wire import audit, envelopes, manifests, signed
from kalends.wire.archived import Copied, CopiedAudit, CopiedErasure, CopiedKey, CopiedRecord, Item, Writing
from kalends.wire.erasures import sealing_scope
from kalends.wire.manifests import Contents, Manifest, Object, Part
from kalends.wire.running import Report

log = structlog.get_logger(__name__)

SEGMENT_BYTES = 32 << 20
AUDIT = "AUDIT"
"""Under this name the manifest says which blocks of the audit it holds, beside the streams of the log."""

_BATCH = 500
_KEYS = 500
_BLOCKS = 100
_GIVE_WAY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a backup is made of."""

    log: Log
    keys: Keys
    records: Records
    ledger: Ledger
    audit: AuditStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A backup to be made: its id, when it was asked for, what it is about, and the one that it builds on."""

    backup_id: str
    made_at: datetime
    selection: Selection
    previous: str | None = None


@dataclass(slots=True)
class _Counts:
    """Of one memory, as its messages pass by."""

    scope: Scope
    kinds: Counter[str] = field(default_factory=Counter)
    segments: list[str] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    first_us: int = 0
    last_us: int = 0

    def saw(self, body: bytes) -> bool:
        """Count a message; whether it is one of an erasure."""
        try:
            sealed = envelopes.parse(body)
        except Damaged:
            self.kinds["others"] += 1
            return False
        if sealed.event_id is not None:
            self.kinds["events"] += 1
            self.digest.update(sealed.event_id.encode() + b"\0" + sealed.content_mac)
            self.first_us = min(self.first_us or sealed.recorded_us, sealed.recorded_us)
            self.last_us = max(self.last_us, sealed.recorded_us)
        else:
            self.kinds["nodes" if sealed.is_node else "others"] += 1
        return sealed.is_erasure

    @property
    def part(self) -> Part:
        """As the contents name it."""
        return Part(
            tenant=self.scope.tenant,
            memory=self.scope.memory,
            events=self.kinds["events"],
            nodes=self.kinds["nodes"],
            others=self.kinds["others"],
            segments=self.segments,
            digest=self.digest.hexdigest(),
            first_us=self.first_us,
            last_us=self.last_us,
        )


class TakeBackup:
    """Makes backups; one that was cut off is begun again under the same id, from nothing."""

    def __init__(
        self,
        *,
        sources: Sources,
        archive: Archive,
        catalogue: Catalogue,
        wrapper: Wrapper,
        signer: Signer,
        log_id: str,
        traffic: Traffic,
        clock: Clock,
        settings: BackupSettings,
    ) -> None:
        self._sources = sources
        self._archive = archive
        self._catalogue = catalogue
        self._wrapper = wrapper
        self.signer = signer
        self.log_id = log_id
        self._traffic = traffic
        self._clock = clock
        self._settings = settings

    async def check(self, wanted: Wanted) -> Backup | None:
        """The backup that *wanted* builds on; None if on none.

        Raises:
            NotFound: it is not there, or there is no such memory. Invalid: it is about something else, or of another log. Damaged: it, or
            one that it builds on, cannot be read.
        """
        if not await scopes_of(self._sources.records, wanted.selection):
            raise NotFound("there is nothing to back up")
        if wanted.previous is None:
            return None
        base = (await self._catalogue.shelf()).chain(wanted.previous)[-1]
        if base.contents.chosen != wanted.selection:
            raise Invalid("the backup to build on is about something else")
        if base.manifest.log_id != self.log_id:
            raise Invalid("the backup to build on is of another log; make one that stands alone")
        return base

    async def plan(self, wanted: Wanted) -> int:
        """How many messages the streams have behind the backup that *wanted* builds on; of all memories.

        Raises:
            As ``check``.
        """
        base = await self.check(wanted)
        after = {} if base is None else {name: upto for name, (_, upto) in base.manifest.streams.items()}
        return sum(max(0, head - after.get(name, 0)) for name, head in (await self._sources.log.heads()).items())

    async def __call__(self, wanted: Wanted, report: Report = lambda _done, _total: None) -> Manifest:
        """Make it; *report* is told how many messages of how many were copied, counting those of other memories as passed by.

        Raises:
            As ``check``. Unavailable, DeadlineExceeded: a store or the archive does not answer; again is safe.
        """
        base = await self.check(wanted)
        shelf = await self._catalogue.shelf()
        if wanted.backup_id in shelf.backups:
            return shelf.backups[wanted.backup_id].manifest  # done, and only its end was not noted
        await self._catalogue.remove(wanted.backup_id)
        key = aead.new_key()
        making = _Making(
            wanted=wanted,
            base=base,
            sources=self._sources,
            archive=self._archive,
            box=aead.Box(key),
            clock=self._clock,
            traffic=self._traffic,
            settings=self._settings,
            report=report,
        )
        await making.copy()
        manifest = Manifest(
            format=manifests.FORMAT,
            backup_id=wanted.backup_id,
            log_id=self.log_id,
            made_at=making.began,
            finished_at=self._clock.now(),
            expires_at=making.expires_at,
            previous=None if base is None else base.backup_id,
            previous_sha256=None if base is None else base.digest,
            streams=making.streams,
            counts=making.counts,
            objects=making.objects,
            wrapped=await manifests.wrap(key, self._wrapper, backup_id=wanted.backup_id),
            sealed=manifests.seal(making.contents, aead.Box(key), backup_id=wanted.backup_id),
            key="",
        )
        await failpoints.reach("backup.before-manifest")
        content = signed.sign(manifest, self.signer)
        await self._archive.put(manifests.name_of(wanted.backup_id), _only(content))
        await failpoints.reach("backup.after-manifest")
        log.info("a backup was made", backup=wanted.backup_id, bytes=manifest.size, **manifest.counts)
        return manifests.read(content)


class _Making:
    """One backup while it is made."""

    def __init__(
        self,
        *,
        wanted: Wanted,
        base: Backup | None,
        sources: Sources,
        archive: Archive,
        box: aead.Box,
        clock: Clock,
        traffic: Traffic,
        settings: BackupSettings,
        report: Report,
    ) -> None:
        self._wanted = wanted
        self._base = base
        self._sources = sources
        self._archive = archive
        self._box = box
        self._clock = clock
        self._traffic = traffic
        self._settings = settings
        self._report = report
        self._parts: list[_Counts] = []
        self._erasures: list[CopiedErasure] = []
        self._records = 0
        self._keys = 0
        self.began = clock.now()
        base_ends = None if base is None else base.manifest.expires_at
        self.expires_at = backups.expires(self.began, days=settings.days, base=base_ends)
        self.streams: dict[str, tuple[int, int]] = {}
        self.objects: list[Object] = []

    @property
    def counts(self) -> dict[str, int]:
        """What the manifest tells."""
        found = {kind: sum(one.kinds[kind] for one in self._parts) for kind in ("events", "nodes", "others")}
        return {**found, "memories": len(self._parts), "records": self._records, "keys": self._keys}

    @property
    def contents(self) -> Contents:
        """The sealed part."""
        chosen = self._wanted.selection
        return Contents(selection=chosen.kind, tenant=chosen.tenant, memory=chosen.memory, parts=[one.part for one in self._parts])

    async def copy(self) -> None:
        """Everything but the manifest."""
        # the end of the log first: what comes later is the next backup's
        heads = dict(await self._sources.log.heads(whole=True))
        blocks = (await self._sources.audit.head())[0] if self._wanted.selection.kind == "all" else 0
        before = {} if self._base is None else self._base.manifest.streams
        after = {name: before.get(name, (0, 0))[1] for name in [*heads, AUDIT]}
        self.streams = {name: (after[name], head) for name, head in heads.items()}
        scopes = await scopes_of(self._sources.records, self._wanted.selection)
        self._parts = [_Counts(scope=scope) for scope in scopes]
        await self._messages(after, heads)
        await failpoints.reach("backup.after-messages")
        await self._put("records", "records", self._counted_records(scopes))
        expires_at = min(self.expires_at, self.began + timedelta(days=self._settings.keys_days))
        await self._put(manifests.KEYS, manifests.KEYS, self._counted_keys(scopes), expires_at=expires_at)
        await self._put("ledger", "ledger", self._ledger())
        if self._wanted.selection.kind == "all":
            self.streams[AUDIT] = (after[AUDIT], blocks)
            await self._put("audit", "audit", self._audit(after[AUDIT], blocks))

    async def _messages(self, after: Floors, heads: Floors) -> None:
        """The messages of all memories, in as many objects as are needed."""
        async with aclosing(self._copied(after, heads)) as source:
            waiting = await anext(source, None)
            while waiting is not None:
                rest = f"segment-{len(self.objects):06d}"
                cut = _Cut(source, waiting)
                await self._put(rest, "segment", self._noting(cut.until(SEGMENT_BYTES), manifests.name_of(self._wanted.backup_id, rest)))
                waiting = cut.waiting
                await failpoints.reach("backup.after-segment")

    async def _noting(self, items: AsyncIterator[Copied], name: str) -> AsyncIterator[Copied]:
        async for item in items:
            segments = self._parts[item.memory].segments
            if not segments or segments[-1] != name:
                segments.append(name)
            yield item

    async def _copied(self, after: Floors, heads: Floors) -> AsyncGenerator[Copied, None]:
        total = sum(max(0, head - after[name]) for name, head in heads.items())
        done = 0
        for number, counts in enumerate(self._parts):
            async with aclosing(self._sources.log.history(counts.scope, after=after, upto=heads, limit=_BATCH)) as batches:
                async for messages in batches:
                    await self._traffic.give_way(at_most=_GIVE_WAY_S)
                    for message in messages:
                        if counts.saw(message.body):
                            self._erasures.append(CopiedErasure(tenant=counts.scope.tenant, memory=counts.scope.memory, body=message.body))
                        yield _copy(number, message)
                    done += len(messages)
                    self._report(done, max(done, total))

    async def _put(self, rest: str, kind: str, items: AsyncIterator[Item], *, expires_at: datetime | None = None) -> None:
        name = manifests.name_of(self._wanted.backup_id, rest)
        writing = Writing(name, self._box)
        size = await self._archive.put(name, self._slowly(writing.pieces(items)))
        items_written, frames, sha256 = writing.written
        self.objects.append(
            Object(name=name, kind=kind, bytes=size, items=items_written, frames=frames, sha256=sha256, expires_at=expires_at)
        )

    async def _slowly(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """*pieces*, no faster than the settings allow."""
        rate = self._settings.rate_mib_s * (1 << 20)
        async for piece in pieces:
            yield piece
            if rate:
                await self._clock.sleep(len(piece) / rate)

    async def _counted_records(self, scopes: Sequence[Scope]) -> AsyncIterator[CopiedRecord]:
        async for record in records_of(self._sources.records, self._wanted.selection, scopes):
            self._records += 1
            yield record

    async def _counted_keys(self, scopes: Sequence[Scope]) -> AsyncIterator[CopiedKey]:
        for scope in [*scopes, *map(sealing_scope, scopes)]:
            async with aclosing(self._sources.keys.references(scope, limit=_KEYS)) as pieces:
                async for piece in pieces:
                    await self._traffic.give_way(at_most=_GIVE_WAY_S)
                    for reference, wrapped in piece.items():
                        self._keys += 1
                        yield CopiedKey(tenant=scope.tenant, memory=scope.memory, reference=reference, wrapped=wrapped)

    async def _ledger(self) -> AsyncIterator[CopiedErasure]:
        """What the messages of erasures say, and the receipts of those that are over."""
        for said in self._erasures:
            yield said
        for scope, erasure_id in await erasure_scopes(self._sources.records, self._wanted.selection):
            receipt = await self._sources.ledger.get(scope, erasure_id)
            if receipt is not None:
                yield CopiedErasure(tenant=scope.tenant, memory=scope.memory, erasure_id=erasure_id, receipt=receipt)

    async def _audit(self, after: int, upto: int) -> AsyncIterator[CopiedAudit]:
        for first in range(after + 1, upto + 1, _BLOCKS):
            for block in await self._sources.audit.read(first, min(upto, first + _BLOCKS - 1)):
                if block.entries is not None:
                    yield CopiedAudit(block.place, audit.pack(block.entries))


class _Cut:
    """Takes items from a source until so many bytes have passed; ``waiting`` is the first that was left, None at the end."""

    def __init__(self, source: AsyncGenerator[Copied, None], first: Copied) -> None:
        self._source = source
        self.waiting: Copied | None = first

    async def until(self, size: int) -> AsyncIterator[Copied]:
        """Items, at least one."""
        taken = 0
        while self.waiting is not None and taken < size:
            taken += len(self.waiting.body)
            yield self.waiting
            self.waiting = await anext(self._source, None)


def _copy(number: int, message: Message) -> Copied:
    place = message.position
    headers: Mapping[str, str] = message.headers
    return Copied(number, place.stream, place.sequence, place.epoch, message.recorded_us, message.body, dict(headers))


async def _only(content: bytes) -> AsyncIterator[bytes]:
    yield content


def described(manifest: Manifest) -> str:
    """What came of it, in one line without content."""
    counts = manifest.counts
    return (
        f"{counts['events']} events and {counts['nodes']} nodes of {counts['memories']} memories in {manifest.size} bytes; "
        f"kept until {moment(microseconds(manifest.expires_at)):%Y-%m-%d}"
    )
