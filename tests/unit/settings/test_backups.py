"""The settings of backups."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.settings import ArchiveSettings, BackupSettings, load


def test_a_backup_is_whole_for_as_long_as_it_is_kept_unless_somebody_wants_it_otherwise():
    """A default that takes the keys away sooner would leave files that nobody can restore after the installation is lost."""
    assert BackupSettings().keys_days == BackupSettings().days


def test_they_are_read_from_the_environment():
    """With the name of the group and the field."""
    found = load(file=None, environment={"KALENDS_BACKUP__FOLDER": "/mnt/backups", "KALENDS_BACKUP__KEYS_DAYS": "7"})

    assert (found.backup.folder, found.backup.keys_days) == ("/mnt/backups", 7)


def test_days_are_at_least_one():
    """A backup that ends when it is made is none."""
    with pytest.raises(Misconfigured):
        load(file=None, environment={"KALENDS_BACKUP__DAYS": "0"})


def test_nothing_is_archived_and_no_bucket_is_asked_unless_somebody_wants_it():
    """An archive needs a disk or a server of its own."""
    assert (ArchiveSettings().store, BackupSettings().store) == ("", "")


@pytest.mark.parametrize(("name", "value"), [("ADDRESSING", "both"), ("REGION", "Mars!"), ("DEADLINE_S", "0")])
def test_what_cannot_be_a_setting_of_buckets_is_refused(name, value):
    """By the name of its setting."""
    with pytest.raises(Misconfigured, match=rf"s3\.{name.lower()}"):
        load(file=None, environment={f"KALENDS_S3__{name}": value})
