"""Settings of logs and traces: bounds and defaults."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.settings import Settings, load


def test_traces_go_nowhere_unless_somebody_says_where():
    """Private by default."""
    assert not Settings().telemetry.otlp_url
    assert not Settings().telemetry.log_file


@pytest.mark.parametrize(
    "given", ["kalends.index=debug", "kalends.index=debug,kalends.edge.http=warning", "kalends=error, kalends.app=info", ""]
)
def test_levels_are_pairs_of_a_module_and_a_level(given):
    """With commas between."""
    assert load(file=None, environment={"KALENDS_TELEMETRY__LEVELS": given}).telemetry.levels == given


@pytest.mark.parametrize("given", ["kalends.index", "kalends.index=loud", "debug", "kalends.index=debug;kalends=info", "=debug"])
def test_anything_else_is_refused_with_the_name_of_the_setting(given):
    """A level that is mistyped would be found when it is needed."""
    with pytest.raises(Misconfigured, match="levels"):
        load(file=None, environment={"KALENDS_TELEMETRY__LEVELS": given})


@pytest.mark.parametrize(("name", "given"), [("OTLP_SHARE", "1.5"), ("OTLP_SHARE", "-1"), ("LOG_FILES", "0"), ("LOG_FILE_MIB", "0")])
def test_numbers_have_bounds(name, given):
    """A share is between none and all; one file at least is kept."""
    with pytest.raises(Misconfigured):
        load(file=None, environment={f"KALENDS_TELEMETRY__{name}": given})
