"""Which archive the settings name, and room for restore drills."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kalends.adapters.embedded import files
from kalends.adapters.embedded.archive import FolderArchive
from kalends.adapters.s3.archive import BucketArchive
from kalends.app import archives
from kalends.app.drills import ScratchInstallations
from kalends.app.folders import folders_of
from kalends.domain.errors import Misconfigured, Unavailable
from kalends.settings import Settings, load


def settings(tmp_path: Path, **environment: str) -> Settings:
    """Of a data folder in *tmp_path*."""
    return load(file=None, environment={"KALENDS_DATA": str(tmp_path / "data"), **environment})


async def test_backups_are_in_the_data_folder_in_another_or_in_a_bucket(tmp_path):
    """As the settings say."""
    (tmp_path / "key").write_text("x", encoding="utf-8")
    keys = {"KALENDS_S3__ACCESS_KEY_FILE": str(tmp_path / "key"), "KALENDS_S3__SECRET_KEY_FILE": str(tmp_path / "key")}
    for environment, kind, root in (
        ({}, FolderArchive, tmp_path / "data" / "backups"),
        ({"KALENDS_BACKUP__FOLDER": str(tmp_path / "one")}, FolderArchive, tmp_path / "one"),
        ({"KALENDS_BACKUP__STORE": f"file://{tmp_path}/two"}, FolderArchive, tmp_path / "two"),
        ({"KALENDS_BACKUP__STORE": "s3://kalends/three", **keys}, BucketArchive, None),
    ):
        chosen = settings(tmp_path, **environment)
        async with AsyncExitStack() as stack:
            found = await archives.of_backups(stack, chosen, folders_of(chosen))
            assert isinstance(found, kind)
            assert getattr(found, "_root", None) == root


async def test_two_places_or_a_bucket_without_a_key_are_refused(tmp_path):
    """By the names of the settings; and the log is archived only where a place is named."""
    for environment, named in (
        ({"KALENDS_BACKUP__STORE": "file:///a", "KALENDS_BACKUP__FOLDER": "/b"}, "backup.folder and backup.store"),
        ({"KALENDS_BACKUP__STORE": "s3://kalends"}, "s3.access_key_file"),
        ({"KALENDS_BACKUP__STORE": "/a"}, "backup.store"),
    ):
        chosen = settings(tmp_path, **environment)
        async with AsyncExitStack() as stack:
            with pytest.raises(Misconfigured, match=named):
                await archives.of_backups(stack, chosen, folders_of(chosen))
            assert await archives.of_log(stack, chosen) is None


async def test_a_drill_without_room_is_not_begun_and_what_was_left_of_one_is_removed(tmp_path):
    """Nothing is written that would fill the disk; what is not ours, or is being used by another installation, stays."""
    chosen = settings(tmp_path)
    root = tmp_path / "data" / "drill"
    left, used, foreign = (root / name for name in ("kalends-drill-" + "0" * 16, "kalends-drill-" + "1" * 16, "drill-press"))
    for folder in (left, used, foreign):
        folder.mkdir(parents=True)
        (folder / "something").touch()
    scratch = ScratchInstallations(chosen, folders_of(chosen), catalogue=None, copies=None, wrapper=None)

    with files.hold(used), pytest.raises(Unavailable, match="no room for a restore drill"):
        async with scratch(size=1 << 60):
            pytest.fail("there is no such disk")

    assert sorted(root.iterdir()) == [foreign, used]
