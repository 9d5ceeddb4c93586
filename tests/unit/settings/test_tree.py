"""The tree of settings explains itself."""

import msgspec
import pytest

from kalends.domain.events import Limits
from kalends.settings import Settings, table

ROWS = list(table())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_setting_has_a_description_that_is_a_sentence(row):
    """It is the only documentation of the setting, in the code as in the reference."""
    assert row[3].endswith(".")


@pytest.mark.parametrize("row", [row for row in ROWS if row[0].endswith("_s")], ids=lambda row: row[0])
def test_every_time_says_that_it_is_in_seconds(row):
    """A number without a unit is a guess."""
    assert "second" in row[3] or "time" in row[3].lower() or "pause" in row[3]


@pytest.mark.parametrize("row", [row for row in ROWS if row[0].endswith("_bytes")], ids=lambda row: row[0])
def test_every_size_says_that_it_is_in_bytes(row):
    """A number without a unit is a guess."""
    assert "bytes" in row[3]


def test_settings_cannot_be_changed():
    """They are values; whoever wants others makes others."""
    with pytest.raises(AttributeError):
        Settings().http.port = 1


def test_the_listener_is_on_loopback_by_default():
    """A plain listener on every address would be open to the neighbours."""
    assert Settings().http.host == "127.0.0.1"


def test_the_limits_of_an_event_agree_with_the_domain():
    """Two defaults for one limit would drift."""
    assert (Settings().ingest.text_bytes, Settings().ingest.metadata_keys) == (Limits().text_bytes, Limits().metadata_keys)


def test_the_defaults_keep_their_own_bounds():
    """Msgspec does not check defaults."""
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == Settings()
