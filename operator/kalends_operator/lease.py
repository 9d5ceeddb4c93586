"""A Lease of our own: only who holds it acts.

Belongs here: taking, renewing and giving back. Does not belong here: what is done while it is held. A newcomer would get wrong: clocks of
other nodes are not believed. A Lease is taken from somebody only after it was seen unchanged for its whole length by our own clock, and is
taken for lost by its holder before anybody else may take it.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from kalends.domain.errors import Conflict, KalendsError, Occupied

log = structlog.get_logger(__name__)

_RENEWALS = 5
"""How often it is renewed in its length."""

_SAFETY = 0.7
"""The share of its length after which a Lease that could not be renewed is lost: sooner than anybody else takes it."""


class Leases(Protocol):
    """Reads and writes Leases (``cluster.Cluster``)."""

    async def lease(self, namespace: str, name: str) -> Any:
        """A Lease; None if there is none."""
        ...

    async def write_lease(self, found: Any, *, namespace: str, name: str, spec: dict[str, Any]) -> Any:
        """Write a Lease over the one that was *found*.

        Raises:
            Conflict: somebody else wrote it since.
        """
        ...


class Leadership:
    """The Lease *name* of *namespace*, held for *identity*; *length_s* seconds without being renewed."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        length_s: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._place = {"namespace": namespace, "name": name}
        self._identity = identity
        self._length_s = length_s
        self._clock = clock
        self._lease: Any = None
        self._renewed: float | None = None
        self._watched: tuple[str, float] | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours for sure, now."""
        return self._renewed is not None and self._clock() - self._renewed < self._length_s * _SAFETY

    async def acquire(self) -> None:
        """Wait until it is ours."""
        while not await self._try():  # noqa: ASYNC110 - the lease is on another machine; nothing here can tell of it
            await asyncio.sleep(self._length_s / _RENEWALS)

    async def hold(self) -> None:
        """Renew it until it is lost.

        Raises:
            Occupied: it is somebody else's, or may be.
        """
        while True:
            await asyncio.sleep(self._length_s / _RENEWALS)
            try:
                ours = await self._try()
            except KalendsError as error:
                log.warning("the lease cannot be renewed", code=error.code)
                ours = True
            if not ours or not self.held:
                self._renewed = None
                raise Occupied("the lease is lost")

    def check(self) -> None:
        """See that it is still ours, before something is done that only its holder may.

        Raises:
            Occupied: it is not.
        """
        if not self.held:
            raise Occupied("the lease is lost")

    async def release(self) -> None:
        """Give it back, so that the next need not wait."""
        if self._lease is None or not self.held:
            return
        self._renewed = None
        try:
            await self._leases.write_lease(
                self._lease, **self._place, spec={**self._spec(self._lease), "holderIdentity": "", "leaseDurationSeconds": 1}
            )
        except KalendsError as error:
            log.info("the lease was not given back", code=error.code)

    async def _try(self) -> bool:
        """Take or renew it, if nobody else has it."""
        began = self._clock()
        found = await self._leases.lease(**self._place)
        if found is not None and not self._free(found):
            return False
        try:
            self._lease = await self._leases.write_lease(found, **self._place, spec=self._spec(found))
        except Conflict:
            return False
        self._renewed = began
        return True

    def _free(self, found: Any) -> bool:
        holder = found.spec.holderIdentity or ""
        if holder in {"", self._identity}:
            return True
        version = str(found.metadata.resourceVersion)
        if self._watched is None or self._watched[0] != version:
            self._watched = version, self._clock()
            return False
        return self._clock() - self._watched[1] >= (found.spec.leaseDurationSeconds or self._length_s)

    def _spec(self, found: Any) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = found is not None and found.spec.holderIdentity == self._identity
        turns = 0 if found is None else int(found.spec.leaseTransitions or 0)
        since = found.spec.acquireTime if ours else None
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._length_s,
            "acquireTime": since.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(since, datetime) else now,
            "renewTime": now,
            "leaseTransitions": turns if ours or found is None else turns + 1,
        }
