"""Sums over what points hold: the same of what is written and of what is read back, and another of anything else."""

import uuid

import numpy as np
import pytest

from kalends.adapters.embedded import edge_sums

POINT = uuid.UUID(int=7)
PAYLOAD = {"key": "k", "version": 3, "windows": 1, "tags": ["a", "b"], "at": 17}


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets the processor say what it is given; sums are then taken there."""

    def say(text):
        edge_sums.reading.cache_clear()
        monkeypatch.setattr(edge_sums, "_told_by_processor", lambda: text)

    yield say
    edge_sums.reading.cache_clear()


def test_the_order_of_fields_does_not_matter():
    """Engines keep none."""
    assert edge_sums.of_payload(POINT, dict(reversed(PAYLOAD.items()))) == edge_sums.of_payload(POINT, PAYLOAD)


@pytest.mark.parametrize("change", [{"version": 4}, {"tags": ["b", "a"]}, {"lead": "s"}, {"at": 17.5}, {"dense_sum": 1}])
def test_another_payload_has_another_sum(change):
    """Also one with a field more."""
    assert edge_sums.of_payload(POINT, PAYLOAD | change) != edge_sums.of_payload(POINT, PAYLOAD)


def test_the_same_payload_under_another_id_has_another_sum():
    """So an id that changed is found."""
    assert edge_sums.of_payload(uuid.UUID(int=8), PAYLOAD) != edge_sums.of_payload(POINT, PAYLOAD)


def test_the_sums_that_are_added_later_do_not_count():
    """The payload's own, and that of token vectors."""
    later = {edge_sums.PAYLOAD: 5, edge_sums.TOKENS: "x:1"}
    assert edge_sums.of_payload(POINT, PAYLOAD | later) == edge_sums.of_payload(POINT, PAYLOAD)


def test_a_dense_vector_is_summed_as_half_precision_numbers():
    """As they come back; a bit of one of them is another sum."""
    vector = np.random.default_rng(1).normal(size=384).astype(np.float32)
    halves = vector.astype(np.float16)
    assert edge_sums.of_dense(vector) == edge_sums.of_dense(halves.astype(float).tolist()) == edge_sums.of_dense(vector.astype(float))

    halves.view(np.uint16)[100] ^= 1
    assert edge_sums.of_dense(halves) != edge_sums.of_dense(vector)


def test_what_is_no_number_is_summed_alike_however_it_is_spelt():
    """There are many, and an engine may give back another one."""
    first, second = np.full(4, np.nan, np.float16), np.full(4, np.nan, np.float16)
    second.view(np.uint16)[:] = 0xFE01

    assert edge_sums.of_dense(first) == edge_sums.of_dense(second)


def test_token_vectors_have_another_sum_if_anything_of_them_changes():
    """A number, or their order."""
    rows = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
    other = rows.copy()
    other.view(np.uint32)[3, 2] ^= 1

    sums = {edge_sums.of_tokens(one.tolist()) for one in (rows, other, rows[::-1])}
    assert len(sums) == 3
    assert edge_sums.of_tokens(rows.tolist()) in sums


def test_a_sum_of_token_vectors_compares_where_it_was_taken(elsewhere):
    """Another processor may read other numbers out of the same eight bits."""
    elsewhere("flags : sse avx2")
    there = edge_sums.of_tokens([[1.0]])
    assert edge_sums.compares(there)

    elsewhere("flags : sse")
    assert not edge_sums.compares(there)
    assert edge_sums.compares(edge_sums.of_tokens([[1.0]]))


@pytest.mark.parametrize("told", [None, 5, "", "elsewhere:00000000"])
def test_what_is_no_sum_does_not_compare(told):
    """It is taken anew then."""
    assert not edge_sums.compares(told)


def test_a_processor_that_says_nothing_is_one_of_its_own_kind(elsewhere, monkeypatch, tmp_path):
    """Not every system has the file."""
    monkeypatch.setattr(edge_sums, "_PROCESSOR", tmp_path / "absent")
    edge_sums.reading.cache_clear()

    assert edge_sums.compares(edge_sums.of_tokens([[1.0]]))
