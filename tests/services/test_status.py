"""What the metrics say of an instance as a whole: erasures, backups, and what was given up."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tests.support.broker import fresh_bus
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.app.status import StatusBoard
from kalends.domain.erasures import Erasure
from kalends.domain.events import EventId, new_ulid
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.metrics import new_metrics
from kalends.edge.progress import Progress

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
HOUR = 3600.0


def erasure(*, asked_s_ago: float, undo_s: float = 0.0) -> Erasure:
    """One under way, which may be undone for *undo_s* seconds after it was asked for."""
    asked_us = round((time.time() - asked_s_ago) * 1e6)
    return Erasure(
        erasure_id=EventId(new_ulid(datetime.now(UTC))),
        scope=SCOPE,
        selector=None,
        selector_kind="everything",
        selector_digest="",
        reason="request",
        requested_by="t",
        undo_until_us=asked_us + round(undo_s * 1e6),
        times={"hidden": asked_us},
    )


@asynccontextmanager
async def observed(**shown):
    """The samples of a board that observes for as long as the block runs."""
    metrics = new_metrics(version="1")
    async with fresh_bus() as bus:
        board = StatusBoard(
            version="1",
            mode="up",
            progress=Progress(log=bus.log, clock=SystemClock(), floors={}),
            metrics=metrics,
            letters=bus.dead_letters,
            health=tuple,
            **shown,
        )
        watching = asyncio.create_task(board.observe())
        try:
            await until(lambda: metrics.registry.get_sample_value("kalends_erasures_active") == len(shown.get("erasures", tuple)()))
            yield metrics.registry.get_sample_value
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def test_the_age_is_that_of_the_oldest_erasure_that_could_be_done():
    """What may still be undone is not late."""
    under_way = [erasure(asked_s_ago=2 * HOUR), erasure(asked_s_ago=30 * HOUR, undo_s=29 * HOUR), erasure(asked_s_ago=9.0, undo_s=HOUR)]
    async with observed(erasures=lambda: under_way) as sample:
        assert sample("kalends_erasures_active") == 3
        assert 2 * HOUR <= sample("kalends_erasure_age_seconds") < 2.5 * HOUR


async def test_nothing_is_late_while_everything_may_be_undone_or_nothing_is_asked_for():
    """An age below zero would hide another's."""
    async with observed(erasures=lambda: [erasure(asked_s_ago=9.0, undo_s=HOUR)]) as sample:
        assert (sample("kalends_erasures_active"), sample("kalends_erasure_age_seconds")) == (1, 0)
    async with observed() as sample:
        assert (sample("kalends_erasures_active"), sample("kalends_erasure_age_seconds")) == (0, 0)


async def test_the_time_of_the_newest_backup_is_told_and_0_without_one():
    """A time and no age, which would stand still with the process."""
    async with observed(last_backup=lambda: "2026-03-01T12:00:00+00:00", erasures=lambda: [erasure(asked_s_ago=0.0)]) as sample:
        await until(lambda: sample("kalends_backup_last_timestamp_seconds") == 1_772_366_400)
    async with observed(erasures=lambda: [erasure(asked_s_ago=0.0)]) as sample:
        assert sample("kalends_backup_last_timestamp_seconds") == 0
