"""Settings of the operator come from variables, and a wrong one is named without its value."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends_operator import settings

LEAST = {"KALENDS_OPERATOR_URL": "https://kalends:7420", "KALENDS_OPERATOR_TOKEN_FILE": "/run/token"}


def test_two_are_enough():
    """Two are enough."""
    found = settings.load({**LEAST, "HOME": "/", "KALENDS_DATA": "/data"})

    assert found.reached == "https://kalends:7420"
    assert found.namespaces == ()


def test_lists_are_separated_by_commas_and_numbers_are_read():
    """Lists are separated by commas and numbers are read."""
    found = settings.load({**LEAST, "KALENDS_OPERATOR_NAMESPACES": "a, b", "KALENDS_OPERATOR_LEASE_S": "30"})

    assert found.namespaces == ("a", "b")
    assert found.lease_s == 30


@pytest.mark.parametrize("name", ["LEASE_S", "NO_SUCH", "RESYNC_S"])
def test_a_wrong_one_is_refused_without_its_value(name: str):
    """A wrong one is refused without its value."""
    with pytest.raises(Misconfigured) as refused:
        settings.load({**LEAST, f"KALENDS_OPERATOR_{name}": "secret-value"})

    assert "secret-value" not in refused.value.detail


def test_every_setting_says_what_it_is():
    """Every setting says what it is."""
    assert all(description for _, _, description in settings.table())
