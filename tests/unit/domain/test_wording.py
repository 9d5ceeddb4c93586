"""Numbers, names and words of two texts compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.wording import Wording, is_date, is_link, stem

NOTHING = Wording.of("")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("1,000 users", "1000 users"),
        ("1000 users", "1,000 users"),
        ("1.234.567 Euro", "1234567 Euro"),
        ("1 234 euros", "1234 euros"),
        ("3,5 kg", "3.5 kg"),
        ("3.50 kg", "3.5 kg"),
        ("2026-01-30", "30 January 2026"),
        ("2026-01-30", "30.01.2026"),
        ("at 09:05", "at 9:05"),
        ("5pm", "5 pm"),
        ("three dogs", "3 dogs"),
        ("3 dogs", "three dogs"),
        ("a dozen eggs", "12 eggs"),
        ("the third time", "3 times"),
        ("v3.18.2", "3.18.2"),
        ("007", "7"),
        ("1.234 m", "1,234 m"),
    ],
)
def test_a_number_is_the_same_in_another_spelling(told, said):
    """People, models and countries write them differently."""
    assert Wording.of(told).lacks(said) == []


@pytest.mark.parametrize(
    ("told", "said", "lacking"),
    [
        ("1,000 users", "100 users", ["100"]),
        ("3 and 5", "3.5", ["3.5"]),
        ("2026-01-30", "31 January 2026", ["31"]),
        ("two dogs", "three dogs", ["three"]),
        ("nothing", "4,200 of 7", ["4,200", "7"]),
        ("9" * 50, "9" * 51, ["9" * 51]),
    ],
)
def test_a_number_that_was_not_told_is_lacking(told, said, lacking):
    """Each as it was written."""
    assert Wording.of(told).lacks(said) == lacking


@given(strategies.TEXTS)
def test_a_text_lacks_nothing_of_itself(text):
    """Neither numbers nor names."""
    wording = Wording.of(text)

    assert wording.lacks(text) == []
    assert wording.strange_names(text, also=NOTHING) == []


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("They met Zoltan in Ghent.", ["Zoltan", "Ghent"]),
        ("Zoltan met them.", ["Zoltan"]),
        ("Discussed the plan. Meeting went well.", []),
        ("User wants a flat.", []),
        ("It runs on the H100 and on macOS with AWS.", ["H100", "macOS", "AWS"]),
        ("See evil.example/x and mail me@evil.example now.", ["evil.example/x", "me@evil.example"]),
        ("It happened in April on a Monday.", ["April", "Monday"]),
        ("May I? March on.", []),
        ("I think I'm fine, ok?", []),
    ],
)
def test_names_are_what_looks_like_one(said, names):
    """Within a sentence by the capital; at its beginning unless sentences are known to begin so."""
    assert NOTHING.strange_names(said, also=NOTHING) == names


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("caroline came", "They met Caroline."),
        ("Caroline's dog", "They met Caroline."),
        ("the invoices", "Invoice numbers changed."),
        ("heizung kaputt", "Kaputte Heizung"),
        ("see https://a.example/x.", "It is at https://a.example/x"),
        ("Sint-Amandsberg", "They chose Sint-Amandsberg."),
        ("an e-mail to Adyen", "They wrote an E-mail."),
    ],
)
def test_a_name_is_known_in_another_form(told, said):
    """Its case, its owner's ending, its plural; a relative at the beginning of a sentence."""
    assert Wording.of(told).strange_names(said, also=NOTHING) == []


def test_the_names_of_others_may_be_known_elsewhere():
    """Those who speak, for one."""
    assert NOTHING.strange_names("They met Zoltan.", also=Wording.of("Zoltan")) == []


@pytest.mark.parametrize(
    "words", ["move moves moved moving", "swim swimming swims", "plan planned planning plans", "city cities", "adopt adoption"]
)
def test_relatives_have_one_stem(words):
    """What a sentence makes of a word is no difference."""
    assert len({stem(word) for word in words.split()}) == 1


@given(st.text(min_size=1, max_size=30))
def test_a_stem_is_the_beginning_of_its_word(word):
    """And never empty."""
    assert word.startswith(stem(word))
    assert 0 < len(stem(word)) <= 5


def test_dates_and_links_are_told_from_words():
    """In lower case, and as a whole."""
    assert is_date("friday")
    assert not is_date("fridge")
    assert is_link("www.evil.example")
    assert not is_link("Ghent")
