"""One look at any resource: who looks at it, one at a time, and what is counted.

Belongs here: what all kinds have in common. Does not belong here: kopf (``handlers``), what a look does (``memory_work`` and its
neighbours). A newcomer would get wrong: handlers of changes and timers of one resource may come at once, so each resource has a lock; and
the resource is read again under it, because what kopf hands over may be older than our own last write.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from kalends.domain.errors import KalendsError
from kalends_operator.cluster import Cluster, Object
from kalends_operator.looking import Looked
from kalends_operator.metrics import Metrics

log = structlog.get_logger(__name__)

GONE = Looked(phase="Gone", gone=True)


class Work(Protocol):
    """Looks at the resources of one kind."""

    async def look(self, resource: Object) -> Looked:
        """Bring the world nearer to what *resource* asks for.

        Raises:
            KalendsError: something did not answer, or refused; the status says so.
        """
        ...


class Reconciler:
    """Looks at resources: at most *parallel* at once, and each by one at a time; *check* raises if the lease is not ours."""

    def __init__(self, cluster: Cluster, works: Mapping[str, Work], *, metrics: Metrics, parallel: int, check: Callable[[], None]) -> None:
        self._cluster = cluster
        self._works = works
        self._metrics = metrics
        self._check = check
        self._slots = asyncio.Semaphore(parallel)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of resources that are looked at."""
        return tuple(self._works)

    async def look(self, kind: str, *, namespace: str, name: str, uid: str) -> Looked:
        """Look at one resource; one that is gone, or is another of the same name, is none.

        Raises:
            KalendsError: something did not answer, or refused.
        """
        lock = self._locks.setdefault(uid, asyncio.Lock())
        async with lock, self._slots:
            began = time.monotonic()
            outcome = "failed"
            try:
                looked = await self._look(kind, namespace=namespace, name=name, uid=uid)
                outcome = "gone" if looked.gone else "waiting" if looked.again_s is not None else "settled"
            except KalendsError as error:
                outcome = error.code
                log.warning("a look failed", kind=kind, uid=uid, code=error.code, dependency=error.dependency)
                raise
            finally:
                self._metrics.reconciles.labels(kind, outcome).inc()
                self._metrics.duration.labels(kind).observe(time.monotonic() - began)
            self._metrics.phase(kind, uid, None if looked.gone else looked.phase)
            return looked

    async def _look(self, kind: str, *, namespace: str, name: str, uid: str) -> Looked:
        self._check()
        resource = await self._cluster.get(kind, namespace, name)
        if resource is None or resource["metadata"]["uid"] != uid:
            return GONE
        return await self._works[kind].look({**resource, "kind": kind})
