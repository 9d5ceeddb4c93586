"""Lineage: projections of another log are never served."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from kalends.app.folders import Folders
from kalends.app.lineage import open_timeline

LOG, OTHER = "ab" * 16, "cd" * 16


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A data folder with something in every projection."""
    for name in ("lexical", "vector"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "CURRENT").write_text("g1")
    return Folders(data=tmp_path, token=tmp_path / "token", key=tmp_path / "key")


async def followed(folders: Folders, log_id: str, floor: int) -> None:
    """A timeline that has followed the log up to *floor*."""
    timeline = await open_timeline(folders, log_id=log_id, heads={"EVENTS_0": floor})
    await timeline.put([], floors={"EVENTS_0": floor})
    await timeline.close()
    for folder in (folders.lexical, folders.vector):
        folder.mkdir(exist_ok=True)


async def floors(folders: Folders, log_id: str, head: int) -> dict[str, int]:
    """What a timeline says that is opened over a log with that head."""
    timeline = await open_timeline(folders, log_id=log_id, heads={"EVENTS_0": head})
    try:
        return dict(await timeline.floors())
    finally:
        await timeline.close()


async def test_the_same_log_keeps_its_projections(folders):
    """However often it is opened, and however far it went on."""
    await followed(folders, LOG, 7)

    assert await floors(folders, LOG, 7) == await floors(folders, LOG, 9) == {"EVENTS_0": 7}
    assert folders.lexical.exists()
    assert folders.vector.exists()


async def test_another_log_finds_no_projections(folders):
    """Its positions would look like known ones."""
    await followed(folders, LOG, 7)

    assert await floors(folders, OTHER, 9) == {}
    assert not folders.lexical.exists()
    assert not folders.vector.exists()


async def test_a_log_that_was_put_back_to_an_earlier_state_is_projected_anew(folders):
    """What the projections have and it has not would be found and could not be read."""
    await followed(folders, LOG, 7)

    assert await floors(folders, LOG, 6) == {}
    assert not folders.lexical.exists()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_timeline_is_built_anew_alone(folders, content):
    """It is as disposable as the others, and they are whole."""
    await followed(folders, LOG, 7)
    folders.timeline.write_bytes(content)

    assert await floors(folders, LOG, 7) == {}
    assert folders.lexical.exists()


async def test_a_timeline_of_another_version_is_built_anew_alone(folders):
    """Its tables mean something else; nobody has to delete it."""
    await followed(folders, LOG, 7)
    with contextlib.closing(sqlite3.connect(folders.timeline)) as database:
        database.execute("PRAGMA user_version = 2")

    assert await floors(folders, LOG, 7) == {}
    assert folders.lexical.exists()
