"""What a process uses: pools, memory, file descriptors, threads, the disk of its data folder; read when somebody asks for the metrics.

Belongs here: how these become series. Does not belong here: counting (``kit.pools``, the system). A newcomer would get wrong: they are read
at each scrape and kept nowhere, so nothing has to be undone when a pool is closed; and where the system does not tell (no ``/proc``), a
series is absent rather than 0.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kalends.kit import pools

_POOL = ("pool",)
_PULSE_S = 0.5

CATALOGUE: Final = {
    **{f"kalends_pool_{name}": frozenset(_POOL) for name in ("places", "taken", "waiting", "refused_total")},
    **{f"kalends_data_{name}_bytes": frozenset[str]() for name in ("size", "free")},
    "kalends_process_threads": frozenset[str](),
    **{
        f"kalends_process_{name}": frozenset[str]()
        for name in (
            "virtual_memory_bytes",
            "resident_memory_bytes",
            "start_time_seconds",
            "cpu_seconds_total",
            "open_fds",
            "max_fds",
        )
    },
}
"""The labels of every series that is made here, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The disk of the data folder: its bytes, and those that are free for this user."""

    size: int
    free: int


def register(registry: CollectorRegistry, room: Callable[[], Room | None]) -> None:
    """Have *registry* tell what this process uses."""
    registry.register(_Used(room))
    ProcessCollector(namespace="kalends", registry=registry)


async def pulse(
    observe: Callable[[float], None],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Tell *observe* twice a second, until cancelled, how much later than asked the event loop came back, in seconds."""
    while True:
        asked = now()
        await sleep(_PULSE_S)
        observe(max(0.0, now() - asked - _PULSE_S))


class _Used(Collector):
    def __init__(self, room: Callable[[], Room | None]) -> None:
        self._room = room

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the system."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Everything, as it is now."""
        yield from _pools()
        threads = _threads()
        if threads is not None:
            yield GaugeMetricFamily("kalends_process_threads", "Threads of the process, those of engines included.", value=threads)
        room = self._room()
        if room is not None:
            yield GaugeMetricFamily("kalends_data_size_bytes", "Size of the disk of the data folder.", value=room.size)
            yield GaugeMetricFamily("kalends_data_free_bytes", "What is free on the disk of the data folder.", value=room.free)


def _pools() -> Iterable[Metric]:
    places = GaugeMetricFamily("kalends_pool_places", "Places of a pool: threads, or calls at once.", labels=_POOL)
    taken = GaugeMetricFamily("kalends_pool_taken", "Places of a pool that are taken.", labels=_POOL)
    waiting = GaugeMetricFamily("kalends_pool_waiting", "Callers that wait for a place.", labels=_POOL)
    refused = CounterMetricFamily("kalends_pool_refused", "Callers that were turned away for want of a place.", labels=_POOL)
    for name, used in pools.usage().items():
        places.add_metric([name], used.places)
        taken.add_metric([name], used.taken)
        waiting.add_metric([name], used.waiting)
        refused.add_metric([name], used.refused)
    return places, taken, waiting, refused


def _threads() -> int | None:
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return None
