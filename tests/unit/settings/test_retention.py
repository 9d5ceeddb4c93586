"""The settings of retention."""

import pytest
from msgspec import ValidationError, convert

from kalends.settings.retention import RetentionSettings


def test_by_default_nothing_is_erased_but_old_episodes():
    """And a session has ended after a day."""
    settings = RetentionSettings()

    assert (settings.max_age_days, settings.episode_days, settings.session_idle_s) == (0, 90, 86_400)


@pytest.mark.parametrize("wrong", [{"batch_events": 0}, {"batch_events": 10_001}, {"session_idle_s": 0}, {"max_age_days": -1}])
def test_what_cannot_work_is_refused(wrong):
    """No erasure of nothing, none whose record is too large."""
    with pytest.raises(ValidationError):
        convert(wrong, RetentionSettings)
