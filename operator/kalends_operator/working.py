"""What all work on resources has in hand, and how it says what it did.

Belongs here: the operator's parts as one value, and writing a status with its events. Does not belong here: what is done for a kind. A
newcomer would get wrong: a status that says nothing new is not written; each write wakes everybody who watches the resource.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kalends_operator.backing import Backups
from kalends_operator.cluster import Cluster, Object
from kalends_operator.desired.conditions import Note
from kalends_operator.kalends import Platform
from kalends_operator.settings import OperatorSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The operator's parts; *check* raises if the lease is not ours."""

    cluster: Cluster
    platform: Platform
    backups: Backups
    settings: OperatorSettings
    now: Callable[[], datetime]
    check: Callable[[], None]


class Worker:
    """Does what resources of one kind ask for, with *parts*."""

    def __init__(self, parts: Parts) -> None:
        self._cluster = parts.cluster
        self._platform = parts.platform
        self._backups = parts.backups
        self._settings = parts.settings
        self._now = parts.now
        self._check = parts.check

    async def _write(self, resource: Object, status: Mapping[str, Any], notes: Iterable[Note]) -> None:
        """Write what is new, and tell the events.

        Raises:
            KalendsError: the API server did not answer or refused, or the lease is lost.
        """
        if status != (resource.get("status") or {}):
            self._check()
            await self._cluster.write_status(resource, status)
        for note in notes:
            await self._cluster.tell(resource, note)
