"""Importing without what is not needed."""

import importlib
import sys

import pytest

from kalends.kit import imports

PACKAGE = "this"
"""A module of the standard library that nothing imports; it greets on standard output."""


@pytest.fixture(autouse=True)
def _forgotten():
    sys.modules.pop(PACKAGE, None)
    yield
    sys.modules.pop(PACKAGE, None)


def test_what_is_hidden_cannot_be_imported_in_the_block_and_can_be_after_it():
    """As if it were not installed."""
    with imports.without(PACKAGE), pytest.raises(ImportError):
        importlib.import_module(PACKAGE)

    assert importlib.import_module(PACKAGE).__name__ == PACKAGE


def test_what_was_imported_before_stays():
    """Somebody needs it."""
    known = importlib.import_module(PACKAGE)

    with imports.without(PACKAGE):
        assert importlib.import_module(PACKAGE) is known
    assert sys.modules[PACKAGE] is known


def test_an_error_in_the_block_leaves_nothing_hidden():
    """The next import finds it."""
    with pytest.raises(ValueError, match="broken"), imports.without(PACKAGE):
        raise ValueError("broken")

    assert importlib.import_module(PACKAGE)
