"""Bulk bodies and the verdict on their items."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.projections import SCOPE, entry, key_of, tombstone

from kalends.adapters.opensearch import failures, writing
from kalends.adapters.opensearch.writing import Operation, Outcome
from kalends.domain.errors import Invalid, KalendsError, Unavailable


def operation(size: int = 10) -> Operation:
    """An operation of *size* bytes."""
    return Operation(key=key_of("a"), scope_key=SCOPE.key, content=b"x" * size)


def outcome(status: int, error: str = "", cause: str = "") -> Outcome:
    """What became of one."""
    return Outcome(operation=operation(), status=status, error=error, cause=cause)


@given(sizes=st.lists(st.integers(min_value=1, max_value=300), max_size=40), limit=st.integers(min_value=1, max_value=500))
def test_pieces_keep_order_and_bounds(sizes: list[int], limit: int) -> None:
    """Nothing is left out; only what is too large by itself exceeds the limit."""
    operations = [operation(size) for size in sizes]
    pieces = list(writing.pieces(operations, limit=limit))

    assert [one for piece in pieces for one in piece] == operations
    assert all(len(piece) == 1 or sum(len(one.content) for one in piece) <= limit for piece in pieces)


def test_an_entry_is_written_under_its_version_through_an_alias() -> None:
    """So that neither an older write wins nor a missing index is made."""
    head, body = writing.indexing(entry("a", "Billing", version=7), alias="i.writes").content.splitlines()
    about = json.loads(head)["index"]

    assert about == {
        "_index": "i.writes",
        "_id": key_of("a"),
        "routing": SCOPE.key,
        "version": 7,
        "version_type": "external",
        "require_alias": True,
    }
    assert json.loads(body)["scope"] == SCOPE.key


def test_a_tombstone_is_a_document_without_words() -> None:
    """No search can reach it, and its version guards the key for ever."""
    assert writing.document(tombstone("a", version=9)) == {"scope": SCOPE.key, "key": key_of("a"), "version": 9, "dead": True}


def test_only_fields_with_words_are_sent() -> None:
    """The lead where there is one, bigrams where a script has no spaces."""
    plain = writing.document(entry("a", "billing"))
    full = writing.document(replace(entry("a", "\uff22illing 北京"), lead="Monday"))

    assert set(plain) == {"scope", "key", "version", "dead", "at", "tags", "stemmed"}
    assert (full["stemmed"], full["lead"], full["cjk"]) == ("Billing 北京", "Monday", "北 京 北京")


def test_something_newer_is_a_success() -> None:
    """What is held already needs no writing."""
    assert writing.verdict([outcome(201), outcome(200), outcome(409, "version_conflict_engine_exception")]) is None


def test_what_waiting_helps_goes_before_what_it_does_not() -> None:
    """Else a batch in an outage would be taken apart, event by event, and put aside."""
    poison, away = outcome(400, "mapper_parsing_exception"), outcome(503, "unavailable_shards_exception")

    assert isinstance(writing.verdict([poison, away]), Unavailable)
    assert isinstance(writing.verdict([outcome(201), poison]), Invalid)
    assert isinstance(writing.verdict([outcome(429, failures.BLOCKED)]), Unavailable)
    assert isinstance(writing.verdict([outcome(404, "index_not_found_exception")]), Unavailable)


@pytest.mark.parametrize(
    ("error", "cause", "expected"),
    [
        ("mapper_parsing_exception", "", Invalid),
        ("mapper_parsing_exception", "number_format_exception", Invalid),
        ("document_parsing_exception", "", Invalid),
        ("illegal_argument_exception", "max_bytes_length_exceeded_exception", Invalid),
        # the alias names two indexes for a moment
        ("illegal_argument_exception", "", Unavailable),
        ("strict_dynamic_mapping_exception", "", Unavailable),
        ("mapper_parsing_exception", "strict_dynamic_mapping_exception", Unavailable),
        ("routing_missing_exception", "", Unavailable),
        ("", "", Unavailable),
    ],
)
def test_only_what_is_wrong_with_the_document_itself_is_refused(error: str, cause: str, expected: type[KalendsError]) -> None:
    """What is wrong with the index is wrong with every document, and none may be put aside for it."""
    verdict = writing.verdict([outcome(201), outcome(400, error, cause)])

    assert type(verdict) is expected


def test_the_first_cause_of_a_refusal_is_read_and_nothing_that_it_quotes() -> None:
    """However deep it stands."""
    told = {"type": "a", "reason": "secret", "caused_by": {"type": "b", "caused_by": {"type": "c", "reason": "secret"}}}
    found = [writing._outcome(operation(), {"index": {"status": 400, "error": error}}) for error in (told, {"type": "a"}, "odd", None)]

    assert [(one.error, one.cause) for one in found] == [("a", "c"), ("a", ""), ("", ""), ("", "")]


def test_the_verdict_says_how_many() -> None:
    """Of how many."""
    assert str(writing.verdict([outcome(201), outcome(503)])).startswith("1 of 2 writes failed")
