"""Rotation of the key-encryption key: every wrapped data key is wrapped anew under the newest, while everything serves.

Belongs here: walking all keys, and what came of it. Does not belong here: where key-encryption keys come from (``ports.kek``), or how a key
is exchanged for another (``ports.keys``). A newcomer would get wrong: no body is sealed anew, for the data keys stay what they are; and the
work is found in the keys themselves, so a rotation that was cut off goes on by beginning again.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from kalends.domain import wrapped_keys
from kalends.domain.errors import KalendsError, Misconfigured, Unavailable
from kalends.domain.operations import LongOperation
from kalends.domain.scope import Scope
from kalends.edge.services import Health
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.kek import Bound, Wrapper
from kalends.ports.keys import Keys
from kalends.ports.records import Records
from kalends.wire.leases import Lease
from kalends.wire.memories import MemoryRegistry
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner, Report
from kalends.wire.seal import rewrap_seal, seal_kek
from kalends.wire.vault import context

log = structlog.get_logger(__name__)

KIND = "key-rotation"
PIECE = 200
_PASSES = 30
_PAUSE_S = 2.0
_GIVE_WAY_S = 0.2
_SEAL_TRIES = 5

Rewrap = Callable[[], Awaitable[object]]
"""Wraps one more thing under the newest key-encryption key, if it is not; again is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationReport:
    """Wrapped data keys by the name of the key-encryption key that they need (``labels`` says it in words), and what does not fit.

    ``damaged`` keys open under none, ``away`` keys need one that is not here, ``foreign`` keys belong to no memory and were not looked at.
    """

    newest: str
    counts: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    damaged: int = 0
    away: int = 0
    foreign: int = 0

    @property
    def old(self) -> int:
        """Keys that need another key-encryption key than the newest."""
        return sum(count for kek, count in self.counts.items() if kek != self.newest)

    @property
    def text(self) -> str:
        """One line for people."""
        told = [f"{self.counts.get(self.newest, 0)} keys under {self.labels[self.newest]}"]
        told += [f"{count} under {self.labels[kek]}" for kek, count in sorted(self.counts.items()) if kek != self.newest]
        told += [f"{count} {word}" for word, count in (("damaged", self.damaged), ("of no memory", self.foreign)) if count]
        return "; ".join(told) + ("" if self.old else "; no older key-encryption key is needed")


class RotateKeys:
    """Wraps every data key, and the log's seal, under the newest key-encryption key; again is safe, and so is a kill anywhere."""

    def __init__(
        self,
        *,
        keys: Keys,
        wrapper: Wrapper,
        records: Records,
        memories: MemoryRegistry,
        traffic: Traffic,
        clock: Clock,
        others: Sequence[Rewrap] = (),
    ) -> None:
        """*others* wrap anew what is wrapped beside the data keys and the seal."""
        self._keys = keys
        self._wrapper = wrapper
        self._records = records
        self._memories = memories
        self._traffic = traffic
        self._clock = clock
        self._others = others

    async def __call__(self, *, dry_run: bool = False, report: Report = lambda _done, _total: None) -> RotationReport:
        """Wrap anew what is not under the newest; a dry run only counts. *report* is told how many keys of how many were looked at.

        Raises:
            Misconfigured: some keys need a key-encryption key that is not here, or processes go on to wrap under an older one.
            Unavailable, DeadlineExceeded: a store or the keeper of the key does not answer; what is done is done.
        """
        for number in range(_PASSES):
            found = await self._walk(await self._wrapper.newest(), report, dry_run=dry_run)
            if found.away and not dry_run:
                raise Misconfigured(
                    f"{found.away} keys need a key-encryption key that is not here; put it back and begin again: {found.text}"
                )
            if dry_run or not found.old:
                break
            # another process that has not heard of the newest yet goes on to make keys under the one before
            await self._clock.sleep(_PAUSE_S if number else 0.0)
        else:
            raise Misconfigured(
                f"keys are still made under an older key-encryption key; see that every process has the newest: {found.text}"
            )
        if not dry_run:
            for rewrap in self._others:
                await rewrap()
            await self._seal()
        return found

    async def _walk(self, newest: str, report: Report, *, dry_run: bool) -> RotationReport:
        """Look at every key once and wrap anew what is due; counted as found, so that only a walk that found nothing due says so."""
        total, seen = await self._keys.count(), 0
        counts: Counter[str] = Counter()
        failed: Counter[type[KalendsError]] = Counter()
        for scope in await self._memories.scopes():
            async with aclosing(self._keys.references(scope, limit=PIECE)) as pieces:
                async for piece in pieces:
                    await self._traffic.give_way(at_most=_GIVE_WAY_S)
                    errors = {} if dry_run else await self._rewrap(scope, _due(piece, newest))
                    failed.update(type(error) for error in errors.values())
                    keks = [wrapped_keys.kek_of(key) for reference, key in piece.items() if reference not in errors]
                    counts.update(kek for kek in keks if kek is not None)
                    seen += len(piece)
                    report(seen, max(total, seen))
        away, readable = failed[Unavailable], sum(counts.values())
        return RotationReport(
            newest=newest,
            counts=counts,
            labels={kek: self._wrapper.label(kek) for kek in {*counts, newest}},
            damaged=seen - readable - away,
            away=away,
            foreign=max(0, total - seen),
        )

    async def _rewrap(self, scope: Scope, due: Mapping[str, bytes]) -> Mapping[str, KalendsError]:
        """Wrap *due* anew; why some could not be. One that was destroyed or wrapped anew meanwhile is left as it is."""
        if not due:
            return {}
        places = {reference: context(scope, reference) for reference in due}
        opened = await self._wrapper.unwrap([Bound(key=due[one], context=place) for one, place in places.items()])
        keys = {reference: key for reference, key in zip(due, opened, strict=True) if isinstance(key, bytes)}
        wrapped = await self._wrapper.wrap([Bound(key=key, context=places[reference]) for reference, key in keys.items()])
        await self._keys.replace(scope, {reference: (due[reference], new) for reference, new in zip(keys, wrapped, strict=True)})
        return {reference: error for reference, error in zip(due, opened, strict=True) if isinstance(error, KalendsError)}

    async def _seal(self) -> None:
        for _ in range(_SEAL_TRIES):
            if await rewrap_seal(self._records, self._wrapper):
                return
        raise Unavailable("the log's seal is being written by others", dependency="log")


def _due(piece: Mapping[str, bytes], newest: str) -> dict[str, bytes]:
    return {reference: key for reference, key in piece.items() if wrapped_keys.kek_of(key) not in {newest, None}}


class KeyRotations(OperationRunner):
    """Rotations asked for, one after another, and how the key-encryption keys are."""

    def __init__(
        self, *, rotate: RotateKeys, wrapper: Wrapper, records: Records, store: OperationStore, lease: Lease, clock: Clock, every_s: float
    ) -> None:
        """*every_s*: how often the keeper of the keys is asked which one is the newest."""
        super().__init__(kind=KIND, store=store, lease=lease, clock=clock, do=self._rotate)
        self._rotate_keys = rotate
        self._wrapper = wrapper
        self._records = records
        self._time = clock
        self._every_s = every_s
        self._health: Health | None = None

    async def watch(self) -> None:
        """Look for a newer key-encryption key again and again, and note how the keys are, until cancelled."""
        while True:
            try:
                self._health = await self._look()
            except KalendsError as error:
                self._health = self._noted("degraded", error.detail, "see that the keeper of the key-encryption key can be reached")
                log.warning("key-encryption keys cannot be looked at", kind=error.code)
            await self._time.sleep(self._every_s)

    def health(self) -> Sequence[Health]:
        """Degraded while a newer key-encryption key waits for its rotation, or its keeper does not answer."""
        return [] if self._health is None else [self._health]

    async def _look(self) -> Health:
        newest = await self._wrapper.newest()
        label = self._wrapper.label(newest)
        sealed = await seal_kek(self._records)
        rotations = [one for one in await self.all() if one.state == "succeeded" and not one.dry_run]
        # the seal is wrapped anew last, so it tells whether everything is; one without a name is from before there were several
        if sealed not in {newest, "", None}:
            return self._noted("degraded", f"{label} wraps; keys under an older one are left", "run `kalends admin rotate-keys --wait`")
        detail = f"{label} wraps"
        return self._noted("up", f"{detail}; last rotation: {rotations[-1].result}" if rotations else detail, "")

    def _noted(self, state: str, detail: str, next_step: str) -> Health:
        before = self._health
        since = before.since if before is not None and before.state == state else self._time.now().isoformat()
        return Health(name="key-encryption keys", state=state, since=since, detail=detail, next_step=next_step, required=False)

    async def _rotate(self, operation: LongOperation, report: Report) -> str:
        found = await self._rotate_keys(dry_run=operation.dry_run, report=report)
        self._health = await self._look()
        return found.text
