"""Fusion: arithmetic on scores, and that equal inputs give equal answers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.events import EventKey
from kalends.domain.fusion import ranked, scaled_to_best, scaled_to_range, share_of, smoothed, weighted

KEYS = st.sampled_from([EventKey(f"{number:032x}") for number in range(8)])
SCORES = st.dictionaries(KEYS, st.floats(-1000, 1000), max_size=8)
POSITIVE = st.dictionaries(KEYS, st.floats(0, 1000), max_size=8)
SHARES = st.floats(0, 1)
SHARES_OF = st.dictionaries(KEYS, SHARES, max_size=8)
NEIGHBOURS = st.dictionaries(KEYS, st.tuples(st.none() | KEYS, st.none() | KEYS), max_size=8)
A, B, C, D = (EventKey(letter * 32) for letter in "abcd")


def shuffled(scores, shuffler):
    """The same mapping with its keys in another order."""
    keys = list(scores)
    shuffler.shuffle(keys)
    return {key: scores[key] for key in keys}


@given(POSITIVE)
def test_scaling_to_the_best_makes_it_one(scores):
    """And nothing becomes more than the best, or less than nothing."""
    scaled = scaled_to_best(scores)

    assert scaled.keys() == scores.keys()
    assert all(0 <= score <= 1 for score in scaled.values())
    assert max(scaled.values(), default=0.0) == (1.0 if any(scores.values()) else 0.0)


@given(SCORES)
def test_scaling_to_a_range_stays_within_nought_and_one(scores):
    """The worst becomes 0; the best becomes 1 unless all are equal."""
    scaled = scaled_to_range(scores)

    assert scaled.keys() == scores.keys()
    assert all(0 <= score <= 1 for score in scaled.values())
    if scores and max(scores.values()) - min(scores.values()) > 1e-6:
        assert (min(scaled.values()), max(scaled.values())) == (0.0, 1.0)


@pytest.mark.parametrize("scale", [scaled_to_best, scaled_to_range])
@given(scores=POSITIVE)
def test_scaling_keeps_the_order(scale, scores):
    """What was better is not worse afterwards."""
    scaled = scale(scores)

    assert all(scaled[one] >= scaled[other] for one in scores for other in scores if scores[one] > scores[other])


@given(st.lists(st.tuples(SCORES, SHARES), max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_arms_and_of_their_hits_changes_nothing(arms, shuffler):
    """Engines answer in any order; only the last bits of a sum may differ."""
    mixed = [(shuffled(scores, shuffler), weight) for scores, weight in arms]
    shuffler.shuffle(mixed)
    fused, other = weighted(arms), weighted(mixed)

    assert fused.keys() == other.keys()
    assert all(math.isclose(fused[key], other[key], rel_tol=1e-9, abs_tol=1e-9) for key in fused)


@given(SCORES, SCORES, SHARES)
def test_two_arms_fuse_to_the_same_bits_whichever_is_first(one, other, share):
    """There are two arms, so a search that is repeated gives the same scores."""
    assert weighted([(one, share), (other, 1 - share)]) == weighted([(other, 1 - share), (one, share)])


def test_an_arm_that_does_not_know_a_key_gives_it_nothing():
    """One that is away simply has no scores."""
    assert weighted([({A: 1.0, B: 0.5}, 0.7), ({B: 1.0}, 0.3)]) == {A: 0.7, B: 0.35 + 0.3}


@given(SCORES, st.randoms(use_true_random=False))
def test_a_ranking_does_not_depend_on_the_order_of_its_scores(scores, shuffler):
    """Equal inputs give equal answers."""
    assert ranked(shuffled(scores, shuffler)) == ranked(scores)


@given(SCORES)
def test_a_ranking_is_by_score_and_then_by_key(scores):
    """Ties go to the lower key."""
    order = ranked(scores)

    assert sorted(order) == sorted(scores)
    assert all(scores[one] > scores[other] or (scores[one] == scores[other] and one < other) for one, other in itertools.pairwise(order))


@given(POSITIVE, NEIGHBOURS, SHARES_OF)
def test_smoothing_adds_at_most_the_share_of_the_best(scores, neighbours, shares):
    """Nothing loses by it, and what enters has no more than a share."""
    found = smoothed(scores, neighbours, shares=shares)
    best = max(scores.values(), default=0.0)

    assert found.keys() >= scores.keys()
    assert all(scores.get(key, 0.0) <= score <= scores.get(key, 0.0) + shares.get(key, 0.0) * best for key, score in found.items())


@given(POSITIVE, NEIGHBOURS, SHARES_OF, st.randoms(use_true_random=False))
def test_smoothing_does_not_depend_on_any_order(scores, neighbours, shares, shuffler):
    """Neither of scores nor of neighbours."""
    mixed = smoothed(shuffled(scores, shuffler), shuffled(neighbours, shuffler), shares=shuffled(shares, shuffler))

    assert mixed == smoothed(scores, neighbours, shares=shares)


def test_the_better_neighbour_counts_and_the_other_does_not():
    """Each turn is lifted by the one it belongs to."""
    assert smoothed({A: 1.0, B: 0.5, C: 0.25}, {B: (A, C)}, shares=dict.fromkeys((A, B, C), 0.5)) == {A: 1.25, B: 1.0, C: 0.5}


def test_a_neighbour_without_a_score_enters_below_what_stands_beside_it():
    """The answer to a question often shares no word with it."""
    assert smoothed({A: 1.0}, {A: (None, D)}, shares={D: 0.2}) == {A: 1.0, D: 0.2}


def test_without_a_share_nothing_changes_for_those_with_a_score():
    """Smoothing can be switched off."""
    assert smoothed({A: 1.0, B: 0.5}, {A: (None, B)}, shares={}) == {A: 1.0, B: 0.5}


def test_equal_scores_have_no_range_and_no_hits_have_no_scores():
    """An arm whose hits are all alike tells nothing about their order."""
    assert scaled_to_range({A: 3.0, B: 3.0}) == {A: 0.0, B: 0.0}
    assert scaled_to_best({A: 0.0}) == {A: 0.0}
    assert (scaled_to_range({}), scaled_to_best({}), weighted([]), ranked({})) == ({}, {}, {}, [])


@given(st.integers(0, 100_000), SHARES, st.integers(1, 2000))
def test_a_long_event_takes_less_of_its_neighbours_score(length, share, full_up_to):
    """A short turn is understood with the one before it; a long one speaks for itself."""
    taken = share_of(length, share=share, full_up_to=full_up_to)

    assert 0 <= taken <= share
    assert length > full_up_to or taken == share
    assert share_of(length + 1, share=share, full_up_to=full_up_to) <= taken
