"""Words of a question and what they weigh."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.terms import FUNCTION_WORDS, LATE_FLOOR, content_words, grams, late_weights, normalised, rarity, token_weights

WEIGHTS = st.lists(st.floats(0, 100), max_size=20)


@given(strategies.TEXTS)
def test_words_of_any_text_are_lower_case_and_each_is_there_once(text):
    """In the order in which they come."""
    words = content_words(text)

    assert len(words) == len(set(words))
    assert all(word == word.lower() for word in words if word.isascii())


@given(strategies.TEXTS)
def test_function_words_are_left_out_unless_there_are_no_others(text):
    """A question of nothing else still asks something."""
    words = set(content_words(text))

    assert not words & FUNCTION_WORDS or words <= FUNCTION_WORDS


def test_pronouns_of_the_first_and_second_person_carry_meaning():
    """They tell a user's turn from an assistant's."""
    assert content_words("What did I tell you about the trip?") == ["i", "tell", "you", "trip"]
    assert content_words("what was it") == ["what", "was", "it"]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_rarer_word_weighs_more_and_none_weighs_nothing(one, other):
    """Even a word that every event holds."""
    fewer, more = sorted((one, other))

    assert rarity(fewer, 10_000) >= rarity(more, 10_000) > 0


def test_rarity_is_what_lucene_computes():
    """So that both engines mean the same."""
    assert rarity(3, 10) == pytest.approx(math.log(1 + 7.5 / 3.5))


def test_a_token_weighs_what_its_word_does():
    """Pieces of a word share its weight; marks, blanks and function words have none."""
    text = "the Mackerels swim"
    spans = [(0, 0), (0, 3), (4, 8), (8, 13), (14, 18), (3, 4), (0, 0)]

    assert token_weights(text, spans, {"mackerels": 5.0, "swim": 2.0, "the": 9.0}) == [0.0, 0.0, 5.0, 5.0, 2.0, 0.0, 0.0]


def test_tokens_without_any_weight_count_all_the_same():
    """A question of function words, or one whose words nobody knows, is asked nevertheless."""
    assert token_weights("who was it", [(0, 0), (0, 3), (4, 7), (8, 10), (0, 0)], {}) == [1.0] * 5
    assert token_weights("unheard of", [(0, 7)], {}) == [1.0]
    assert token_weights("", [], {}) == []


@given(strategies.TEXTS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=10), st.floats(0.1, 20))
def test_there_is_one_weight_for_each_token_and_they_weigh_something(text, spans, weight):
    """Wherever the tokenizer says they are."""
    weights = token_weights(text, spans, dict.fromkeys(content_words(text), weight))

    assert len(weights) == len(spans)
    assert all(one >= 0 for one in weights)
    assert sum(weights) > 0 or not spans


@given(WEIGHTS.filter(any))
def test_late_weights_sum_to_one_and_none_is_below_the_floor(weights):
    """So scores of short and of long questions compare."""
    late = late_weights(weights)

    assert len(late) == len(weights)
    assert sum(late) == pytest.approx(1.0)
    assert min(late) >= LATE_FLOOR * max(late) * (1 - 1e-9)


@given(WEIGHTS.filter(any))
def test_late_weights_keep_the_order_of_weights(weights):
    """Wherever in the question a token stands."""
    late = late_weights(weights)

    assert all(late[a] >= late[b] for a in range(len(late)) for b in range(len(late)) if weights[a] > weights[b])


def test_unspaced_scripts_become_bigrams() -> None:
    """An event gives single characters too; a question only where one stands alone."""
    assert grams("北京大 and 猫", question=False) == ["北", "京", "大", "北京", "京大", "猫"]
    assert grams("北京大 and 猫", question=True) == ["北京", "京大", "猫"]
    assert grams("plain", question=True) == []


@given(strategies.TEXTS)
def test_text_that_is_in_its_one_form_stays_as_it_is(text):
    """So events and questions may be brought into it as often as it happens."""
    once = normalised(text)

    assert normalised(once) == once
    assert normalised("ﬁne") == "fine"
