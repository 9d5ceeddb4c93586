"""Settings of what guards an instance: bounds and defaults."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.settings import Settings, load


def test_writes_of_events_are_counted_by_default():
    """Every other call that changes something waits for its own entry."""
    assert Settings().audit.writes == "counted"
    assert load(file=None, environment={"KALENDS_AUDIT__WRITES": "each"}).audit.writes == "each"


def test_the_audit_cannot_be_turned_off():
    """By no value of its setting."""
    for value in ("off", "none", "", "false"):
        with pytest.raises(Misconfigured, match="writes"):
            load(file=None, environment={"KALENDS_AUDIT__WRITES": value})


def test_nothing_is_limited_by_rate_unless_somebody_says_so():
    """What is bounded is how much is done at once."""
    limits = Settings().limits

    assert (limits.requests_per_s, limits.bytes_per_s, limits.events_per_s, limits.tokens_per_s) == (0, 0, 0, 0)
    assert 1 <= limits.searches_per_memory <= limits.searches_at_once


def test_local_only_is_a_choice():
    """With an empty list at first."""
    assert not Settings().network.local_only
    assert not Settings().network.allowed
