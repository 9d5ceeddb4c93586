"""The settings of backups."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.settings import BackupSettings, load


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
