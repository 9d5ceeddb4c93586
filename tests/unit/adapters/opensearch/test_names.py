"""Names of indexes and aliases."""

import pytest
from tests.contracts.projections import OTHER, SCOPE

from kalends.adapters.opensearch.names import Names, for_writing, memory_of
from kalends.domain.errors import Invalid

NAMES = Names(prefix="kalends")


def test_generations_are_read_back_from_the_names_of_their_indexes() -> None:
    """Indexes of dedicated memories, of other prefixes and of strangers make none."""
    indexes = [NAMES.shared("g2"), NAMES.shared("g1"), NAMES.dedicated("g1", SCOPE.key), "kalends-lexical", "other-lexical-g3", "kalends-x"]

    assert NAMES.generations(indexes) == ["g1", "g2"]


def test_a_generation_cannot_look_like_a_dedicated_memory() -> None:
    """Nor leave its prefix by a wildcard, a comma or a path."""
    for name in (f"g1-m-{SCOPE.key}", "", "G1", "a*", "a,b", "../x", "x" * 41):
        with pytest.raises(Invalid):
            NAMES.shared(name)


def test_a_calendar_lies_with_its_memory() -> None:
    """Its scope has another key, and the same index."""
    assert memory_of(SCOPE.calendar.key) == memory_of(SCOPE.key) == SCOPE.key


def test_what_a_deletion_left_is_found() -> None:
    """An index of a dedicated memory without the shared one of its generation."""
    kept, lost = NAMES.dedicated("g1", SCOPE.key), NAMES.dedicated("g-m-2", OTHER.key)

    assert NAMES.orphans([NAMES.shared("g1"), kept, lost, "elsewhere"]) == [lost]


def test_no_generation_has_the_name_of_a_writers_alias() -> None:
    """A dot cannot stand in a generation's name."""
    assert NAMES.generations([for_writing(NAMES.shared("g1"))]) == []
