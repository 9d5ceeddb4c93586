"""Lineage: the projections in the data folder come from the log that is followed, and from no other.

Belongs here: noticing another log, or one that was put back to an earlier state, and clearing away what was projected. Does not belong
here: projecting. A newcomer would get wrong: positions of another log look like our own, so a projection of it would answer with events
that are not there, and ingest would take new events for known ones.
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

import structlog

from kalends.adapters.embedded import file_sums, files
from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.app.folders import Folders
from kalends.domain.errors import Damaged, Misconfigured

log = structlog.get_logger(__name__)


async def open_calendar(folders: Folders) -> SqliteCalendar:
    """The calendar beside the timeline, which was opened before and has cleared away one of another log.

    Raises:
        Unavailable, Occupied: it cannot be opened.
    """
    try:
        return await SqliteCalendar.open(folders.calendar)
    except (Damaged, Misconfigured) as error:
        log.warning("calendar is built anew from the log", reason=error.detail)
        await asyncio.to_thread(_remove, folders.calendar)
        return await SqliteCalendar.open(folders.calendar)


async def open_timeline(folders: Folders, *, log_id: str, heads: Mapping[str, int]) -> SqliteTimeline:
    """The timeline of the log *log_id*, whose last sequences are *heads*; every projection of another log is deleted before.

    Raises:
        Unavailable, Occupied: it cannot be opened.
    """
    mark = folders.data / "log-id"
    if await asyncio.to_thread(_known, mark) != log_id:
        await _clear(folders, reason="they were made from another log")
        await asyncio.to_thread(files.write_whole, mark, lambda temporary: temporary.write_text(log_id + "\n", encoding="ascii"))
    try:
        timeline = await SqliteTimeline.open(folders.timeline)
    except (Damaged, Misconfigured) as error:
        # as disposable as the other projections, and independent of them
        log.warning("timeline is built anew from the log", reason=error.detail)
        await asyncio.to_thread(_remove, folders.timeline)
        return await SqliteTimeline.open(folders.timeline)
    if any(floor > heads.get(stream, 0) for stream, floor in (await timeline.floors()).items()):
        await timeline.close()
        await _clear(folders, reason="the log is shorter than they are, so it was put back to an earlier state")
        timeline = await SqliteTimeline.open(folders.timeline)
    return timeline


def _known(mark: Path) -> str:
    try:
        return mark.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


async def _clear(folders: Folders, *, reason: str) -> None:
    projections = [folder for folder in (folders.timeline, folders.calendar, folders.lexical, folders.vector) if folder.exists()]
    if projections:
        log.warning("projections are built anew from the log", reason=reason)
    for folder in projections:
        await asyncio.to_thread(_remove, folder)


def _remove(path: Path) -> None:
    """Delete a folder, or a database with the files beside it."""
    if path.is_dir():
        shutil.rmtree(path)
        return
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name, file_sums.sum_of(path).name):
        path.with_name(name).unlink(missing_ok=True)
