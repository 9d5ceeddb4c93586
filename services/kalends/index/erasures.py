"""Erasures: which one is done when, and by which process.

Belongs here: the lease, several at once, trying again. Does not belong here: the steps of one (``erasing``). A newcomer would get wrong:
this is no ``OperationRunner``, for erasures must not wait for each other: with replicas each of them waits until the brokers' own logs are
clean; and none ever ends as failed, it is tried again until it is done.
"""

import asyncio

import structlog

from kalends.domain.erasures import Erasure
from kalends.domain.errors import Conflict, KalendsError
from kalends.domain.events import microseconds
from kalends.index.erasing import Erase
from kalends.kit import tasks
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.wire.erasures import ErasureStore
from kalends.wire.hidden import HiddenView
from kalends.wire.leases import Lease

log = structlog.get_logger(__name__)

LOOK_S = 0.2
AT_ONCE = 4
"""Erasures that are done at the same time."""

_FIRST_S, _LONGEST_S = 0.5, 30.0


class Erasures:
    """Works off the erasures whose time has come, under *lease*."""

    def __init__(self, *, erase: Erase, store: ErasureStore, hidden: HiddenView, lease: Lease, clock: Clock) -> None:
        self._erase = erase
        self._store = store
        self._hidden = hidden
        self._lease = lease
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; what is under way then goes on elsewhere, or at the next start."""
        while True:
            if not self._due():
                await self._clock.sleep(LOOK_S)
            elif not await self._may_lead():
                await self._clock.sleep(self._lease.pause_s)
            else:
                await self._lead()

    def _due(self) -> list[Erasure]:
        now_us = microseconds(self._clock.now())
        return [one for one in self._hidden.every() if one.begun or one.undo_until_us <= now_us]

    async def _may_lead(self) -> bool:
        try:
            return await self._lease.attempt() is not None
        except KalendsError as error:
            log.info("the lease cannot be asked for", work="erasure", kind=error.code)
            return False

    async def _lead(self) -> None:
        """Until nothing is due, or the lease is lost."""
        async with tasks.group() as group:
            renewed = self._clock.monotonic()
            while self._lease.term is not None and (self._due() or self._running):
                for one in self._due():
                    if one.erasure_id not in self._running and len(self._running) < AT_ONCE:
                        work = group.create_task(self._one(one), name="index.erasure")
                        self._running[one.erasure_id] = work
                        work.add_done_callback(lambda _, name=one.erasure_id: self._running.pop(name, None))  # type: ignore[misc]
                await self._clock.sleep(LOOK_S)
                if self._clock.monotonic() - renewed >= self._lease.pause_s:
                    renewed = self._clock.monotonic()
                    await self._may_lead()
            for work in list(self._running.values()):
                work.cancel()
        try:
            await self._lease.release()
        except KalendsError as error:
            log.info("the lease runs out by itself", work="erasure", kind=error.code)

    async def _one(self, begun: Erasure) -> None:
        """One erasure, from its record as it is now, until it is done or undone."""
        for pause in pauses(first=_FIRST_S, longest=_LONGEST_S):
            try:
                erasure = await self._store.find(begun.scope, begun.erasure_id)
                if erasure is None or not erasure.is_active:
                    await self._hidden.refresh()
                    return
                await self._erase(erasure)
            except Conflict:
                log.info("an erasure was changed meanwhile", erasure=begun.erasure_id)
            except KalendsError as error:
                log.warning("an erasure waits", erasure=begun.erasure_id, kind=error.code, dependency=error.dependency)
            except Exception:
                log.exception("an erasure failed and is tried again", erasure=begun.erasure_id)
            else:
                return
            await self._clock.sleep(pause)
