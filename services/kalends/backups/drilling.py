"""Restore drills: the newest backup of everything, restored into an installation that is made for it and removed after it.

Belongs here: what is held against the backup, and what is noted of it. Does not belong here: making that installation (``app.drills``). A
newcomer would get wrong: the restored log is not compared with the living one, which has gone on, but with the backup itself: its events in
their order by the digests of its manifests, less what was erased since, and every seal is opened with the keys that came back.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct

from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.copies import Copies
from kalends.backups.replaying import RestoreAll
from kalends.backups.taking import Sources
from kalends.backups.verifying import opened
from kalends.domain.backups import Gone
from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, NotFound, Unavailable
from kalends.domain.events import event_key
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.metrics import Metrics
from kalends.edge.services import Health
from kalends.ports.clock import Clock
from kalends.ports.kek import Wrapper
from kalends.ports.records import Records
from kalends.wire import envelopes
from kalends.wire.running import Report

KIND = "drill"
_OWNER, _NAME = "instance", "last"
_READ = 500
_LOOK_S = 60.0

log = structlog.get_logger(__name__)


class Drilled(Struct, frozen=True, kw_only=True):
    """What came of the last drill: of which backup, when it ended, how long it took, and what was found."""

    backup_id: str
    ended_at: datetime
    seconds: float
    succeeded: bool
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An empty installation, and what restores into it."""

    sources: Sources
    restore: RestoreAll


class Scratch(Protocol):
    """Makes an empty installation that is gone once it is left."""

    def __call__(self, *, size: int) -> AbstractAsyncContextManager[Installation]:
        """With room for *size* bytes.

        Raises:
            Unavailable: there is no room, or it does not start. Misconfigured: no broker can be started here.
        """
        ...


@dataclass(slots=True)
class _State:
    """The events of one memory in their order, as a digest."""

    events: int = 0
    nodes: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def saw(self, sealed: envelopes.Sealed) -> None:
        """Take in one message."""
        if sealed.event_id is not None:
            self.events += 1
            self.digest.update(sealed.event_id.encode() + b"\0" + sealed.content_mac)
        elif sealed.is_node:
            self.nodes += 1


class Drill:
    """Does drills, and remembers the last."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        copies: Copies,
        records: Records,
        wrapper: Wrapper,
        scratch: Scratch,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._copies = copies
        self._records = records
        self._wrapper = wrapper
        self._scratch = scratch
        self._metrics = metrics
        self._clock = clock
        self._health: Health | None = None

    def health(self) -> Sequence[Health]:
        """Degraded where the last one did not bring everything back; nothing is said where there was none."""
        return [] if self._health is None else [self._health]

    async def watch(self) -> None:
        """Tell what came of the last one again and again, wherever it was done, until cancelled."""
        while True:
            try:
                await self.last()
            except KalendsError as error:
                log.warning("what came of the last restore drill cannot be read", kind=error.code)
            await self._clock.sleep(_LOOK_S)

    async def __call__(self, report: Report = lambda _done, _total: None) -> str:
        """Restore the newest backup of everything, compare, and note what came of it.

        Raises:
            NotFound: there is none. Damaged: it does not bring back what it holds, which is noted. Misconfigured: no broker can be started
            here. Unavailable, DeadlineExceeded: a store does not answer, or there is no room; nothing is noted.
        """
        shelf = await self._catalogue.shelf()
        backup = next((one for one in reversed(list(shelf.backups.values())) if one.contents.chosen.kind == "all"), None)
        if backup is None:
            raise NotFound("there is no backup of everything")
        started = self._clock.monotonic()
        try:
            told = await self._try(shelf, backup, report)
        except (Unavailable, DeadlineExceeded):
            raise
        except KalendsError as error:
            await self._note(backup, started, succeeded=False, result=error.detail)
            raise
        await self._note(backup, started, succeeded=True, result=told)
        return told

    async def last(self) -> Drilled | None:
        """What came of the last one, by whichever process; the metrics say so then, too.

        Raises:
            Damaged: what is noted of it cannot be read. Unavailable, DeadlineExceeded: the records do not answer.
        """
        record = await self._records.get(KIND, _OWNER, _NAME)
        if record is None:
            return None
        try:
            found = msgspec.json.decode(record.value, type=Drilled)
        except msgspec.MsgspecError as error:
            raise Damaged("what is noted of the last restore drill cannot be read") from error
        self._tell(found)
        return found

    async def _note(self, backup: Backup, started: float, *, succeeded: bool, result: str) -> None:
        seconds = round(self._clock.monotonic() - started, 3)
        drilled = Drilled(backup_id=backup.backup_id, ended_at=self._clock.now(), seconds=seconds, succeeded=succeeded, result=result)
        await self._records.put(KIND, _OWNER, _NAME, msgspec.json.encode(drilled))
        self._tell(drilled)

    def _tell(self, drilled: Drilled) -> None:
        self._metrics.drill_succeeded.set(1 if drilled.succeeded else 0)
        self._metrics.drill_timestamp.set(drilled.ended_at.timestamp())
        at = drilled.ended_at.isoformat()
        state, step = ("up", "") if drilled.succeeded else ("degraded", "make a backup that stands alone, and drill again")
        detail = f"{at}, {drilled.seconds:g} s: {drilled.result}"
        self._health = Health(name="restore-drill", state=state, since=at, detail=detail, next_step=step, required=False)

    async def _try(self, shelf: Shelf, backup: Backup, report: Report) -> str:
        chain = shelf.chain(backup.backup_id)
        gone = await self._copies.gone(shelf)
        wanted = {scope: await self._held(chain, scope, gone.get(scope, Gone())) for scope in _scopes(backup)}
        async with self._scratch(size=sum(one.manifest.size for one in chain)) as made:
            await made.restore(backup.backup_id, report=report)
            seals = 0
            for scope, state in wanted.items():
                found, opening = await self._found(made.sources, scope)
                seals += opening
                if (found.events, found.digest.digest()) != (state.events, state.digest.digest()):
                    raise Damaged(f"{found.events} of {state.events} events of a memory came back, or others than the backup holds")
        events = sum(state.events for state in wanted.values())
        return f"{events} events of {len(wanted)} memories came back as the backup holds them, {seals} seals open"

    async def _held(self, chain: Sequence[Backup], scope: Scope, gone: Gone) -> _State:
        """What the backups hold of a memory, less what was erased.

        Raises:
            Damaged: it is not what a manifest says.
        """
        left = _State()
        for backup in chain:
            whole = _State()
            async for one in self._copies.messages([backup], scope):
                if one.sealed is None:
                    continue
                whole.saw(one.sealed)
                if not _is_erased(one.sealed, scope, gone):
                    left.saw(one.sealed)
            for part in backup.contents.parts:
                if (part.tenant, part.memory) == scope and (part.events, part.digest) != (whole.events, whole.digest.hexdigest()):
                    raise Damaged(f"the backup {backup.backup_id} does not hold the events that its manifest says")
        return left

    async def _found(self, sources: Sources, scope: Scope) -> tuple[_State, int]:
        """What came back of a memory, and how many of its seals opened.

        Raises:
            Damaged: a seal whose key came back does not open.
        """
        boxes = await opened(self._wrapper, scope, await _keys(sources, scope))
        state, seals = _State(), 0
        heads = await sources.log.heads()
        async with aclosing(sources.log.history(scope, after={}, upto=heads, limit=_READ)) as batches:
            async for messages in batches:
                for message in messages:
                    sealed = envelopes.parse(message.body)
                    state.saw(sealed)
                    if not sealed.is_erasure and sealed.event_id is not None:
                        if sealed.key_reference not in boxes:
                            raise Damaged("an event came back without the key of its session")
                        envelopes.unseal(sealed, boxes[sealed.key_reference])
                        seals += 1
        return state, seals


async def _keys(sources: Sources, scope: Scope) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    async with aclosing(sources.keys.references(scope, limit=_READ)) as pieces:
        async for piece in pieces:
            found |= piece
    return found


def _is_erased(sealed: envelopes.Sealed, scope: Scope, gone: Gone) -> bool:
    if sealed.event_id is None:
        return False
    return gone.has_event(event_key(scope, sealed.event_id), session=None, recorded_us=sealed.recorded_us)


def _scopes(backup: Backup) -> Sequence[Scope]:
    return [Scope(Tenant(part.tenant), MemoryName(part.memory)) for part in backup.contents.parts]
