"""Errors carry what a transport needs, and nothing else."""

import pytest

from kalends.domain import errors


def test_an_error_without_words_says_its_title():
    """A problem document always has a detail."""
    assert errors.NotFound().detail == "not found"
    assert str(errors.NotFound()) == "not found"


def test_an_error_keeps_its_words():
    """The detail is the message."""
    error = errors.Conflict("the id is taken")

    assert error.detail == "the id is taken"
    assert str(error) == "the id is taken"


def test_an_error_names_the_dependency_and_the_time_to_wait():
    """So that a caller can act without reading prose."""
    error = errors.Unavailable("no answer", dependency="log", retry_after=1.5)

    assert (error.dependency, error.retry_after) == ("log", 1.5)


def test_faults_are_kept_in_order_and_cannot_be_changed():
    """One error may carry many faults, each with its pointer."""
    faults = [errors.Fault(pointer="/a", detail="one"), errors.Fault(pointer="/b", detail="two", code="range")]

    assert errors.Invalid("wrong", faults=faults).faults == tuple(faults)


@pytest.mark.parametrize("error", errors.KalendsError.__subclasses__(), ids=lambda error: error.__name__)
def test_every_error_can_be_caught_as_one(error):
    """Whoever handles ``KalendsError`` handles everything that Kalends can name."""
    with pytest.raises(errors.KalendsError):
        raise error
