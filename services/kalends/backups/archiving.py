"""Copying the log into its archive, again and again, by one process at a time.

Belongs here: which messages are next, and when. Does not belong here: how they are kept (``chains``). A newcomer would get wrong: places of
the log are read one after another and each is either a message or a hole that the link declares, so a message that was lost before it was
copied is a hole like one that was erased; the check knows them apart (``chain_checking``).
"""

from collections.abc import AsyncIterator, Mapping, Sequence

import structlog

from kalends.backups.chains import Chain, Kept, Told
from kalends.domain.errors import Conflict, KalendsError
from kalends.domain.positions import Position
from kalends.edge.metrics import Metrics
from kalends.edge.services import Health
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.settings import ArchiveSettings
from kalends.wire import links
from kalends.wire.leases import Lease
from kalends.wire.links import Link, Logged

log = structlog.get_logger(__name__)

_BATCH = 500
_GIVE_WAY_S = 0.2


class ArchiveLog:
    """Keeps the archive up to date with the log, and tells how it is."""

    def __init__(
        self,
        *,
        chain: Chain,
        source: Log,
        lease: Lease,
        clock: Clock,
        traffic: Traffic,
        metrics: Metrics,
        settings: ArchiveSettings,
    ) -> None:
        self._chain = chain
        self._log = source
        self._lease = lease
        self._clock = clock
        self._traffic = traffic
        self._metrics = metrics
        self._settings = settings
        self._last: Kept | None = None
        self._health: Health | None = None

    def health(self) -> Sequence[Health]:
        """Down once a check found a break, degraded while nothing can be copied."""
        return [] if self._health is None else [self._health]

    async def run(self) -> None:
        """Copy what is new again and again, until cancelled."""
        while True:
            try:
                if await self._lease.attempt() is not None:
                    await self.copy()
                await self.look()
            except KalendsError as error:
                log.warning("the log cannot be archived now", kind=error.code)
                self._tell(
                    "degraded", f"the log cannot be archived: {error.detail}", "it goes on by itself; see that archive.store answers"
                )
            await self._clock.sleep(self._settings.every_s)

    async def look(self) -> None:
        """Tell what the last check found, wherever it was done.

        Raises:
            Damaged, Unavailable, DeadlineExceeded: it cannot be read.
        """
        noted = await self._chain.noted()
        self._metrics.log_intact.set(0 if noted.breaks else 1)
        self._metrics.log_breaks.set(noted.breaks)
        if noted.breaks:
            self._tell(
                "down",
                noted.status or noted.told,
                "see all with `kalends archive show`; what heals it stands in docs/reference/archive-format.md",
            )
        else:
            checked = "not checked yet" if noted.checked_at is None else f"checked {noted.checked_at.isoformat()}"
            self._tell("up", f"{noted.number + 1} links, {checked}", "")

    async def copy(self) -> int:
        """Copy everything that the log has now; how many links were added.

        Raises:
            Damaged: the newest link cannot be read. Unavailable, DeadlineExceeded: a store does not answer; again goes on.
        """
        added = 0
        heads = dict(await self._log.heads())
        if self._last is None and (found := await self._chain.last()) is not None:
            # whoever wrote it may have been killed before it was noted
            await self._keep(found)
        while any(head > _upto(self._last).get(stream, 0) for stream, head in heads.items()):
            try:
                await self._keep(await self._add(self._last, heads))
            except Conflict:
                log.info("another process archives the log")
                self._last = None
                return added
            added += 1
        return added

    async def _keep(self, last: Kept) -> None:
        await self._chain.note(number=last.link.number, sha256=last.sha256)
        self._last = last

    async def _add(self, last: Kept | None, heads: Mapping[str, int]) -> Kept:
        number = 0 if last is None else last.link.number + 1
        told = Told(streams={stream: (at, at) for stream, at in _upto(last).items()}, holes={})
        link = Link(
            format=links.FORMAT,
            log_id=self._chain.log_id,
            number=number,
            amends=0,
            made_at=self._clock.now(),
            previous_sha256=None if last is None else last.sha256,
            streams={},
            holes={},
            segment="",
            bytes=0,
            messages=0,
            sha256="",
            wrapped="",
            key="",
        )
        return await self._chain.add(link, self._next(heads, told), told)

    async def _next(self, heads: Mapping[str, int], told: Told) -> AsyncIterator[Logged]:
        """The next messages, until a segment is full; *told* learns how far it came, and what was empty."""
        size, full = 0, self._settings.segment_mib << 20
        for stream, head in sorted(heads.items()):
            after = told.streams.setdefault(stream, (0, 0))[0]
            empty: list[int] = []
            at = after
            while at < head and size < full:
                await self._traffic.give_way(at_most=_GIVE_WAY_S)
                places = [Position(stream, sequence) for sequence in range(at + 1, min(at + _BATCH, head) + 1)]
                for place, message in zip(places, await self._log.read(places), strict=True):
                    if message is None:
                        empty.append(place.sequence)
                        continue
                    size += len(message.body)
                    epoch = message.position.epoch
                    yield Logged(stream, place.sequence, epoch, message.recorded_us, message.body, dict(message.headers))
                at = places[-1].sequence
            told.streams[stream] = (after, at)
            if empty:
                told.holes[stream] = links.ranges(empty)

    def _tell(self, state: str, detail: str, step: str) -> None:
        before = self._health
        since = before.since if before is not None and before.state == state else self._clock.now().isoformat()
        self._health = Health(name="archive", state=state, since=since, detail=detail, next_step=step, required=False)


def _upto(kept: Kept | None) -> Mapping[str, int]:
    return {} if kept is None else kept.link.upto
