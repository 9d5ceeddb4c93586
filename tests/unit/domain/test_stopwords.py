"""Words that say little."""

from hypothesis import given
from tests.support import strategies

from kalends.domain import stopwords
from kalends.domain.stopwords import GLUE, PLAIN


@given(strategies.TEXTS)
def test_words_stand_where_they_are_said_to_stand(text):
    """In order, without overlap, and never empty."""
    spans = stopwords.spans(text)

    assert all(start < end for start, end in spans)
    assert all(spans[index][1] <= spans[index + 1][0] for index in range(len(spans) - 1))


@given(strategies.TEXTS)
def test_meaningful_words_are_in_their_plain_form_and_none_of_the_left_out(text):
    """Whatever is asked to be left out."""
    for without in (PLAIN, GLUE, frozenset()):
        assert not set(stopwords.meaningful(text, without=without)) & without


def test_glue_is_a_part_of_what_is_plain():
    """Small talk and plain verbs come on top; whether a word is in the list decides."""
    assert GLUE < PLAIN
    assert stopwords.is_plain("great")
    assert stopwords.is_plain("isn't")
    assert stopwords.is_plain("we\u2019re")
    assert not stopwords.is_plain("pottery")


def test_an_owner_is_the_word_without_its_ending():
    """Caroline's is Caroline."""
    assert stopwords.meaningful("Marco\u2019s invoices and Priya's e-mail") == ["marco", "invoices", "priya", "e-mail"]


def test_where_no_blanks_part_words_neighbouring_signs_are_words():
    """Chinese, Japanese, Thai; other letters between them stay whole."""
    assert stopwords.meaningful("大阪支社") == ["大阪", "阪支", "支社"]
    assert stopwords.meaningful("新API版") == ["新", "api", "版"]
    assert stopwords.is_unspaced("来週の会議 v2")
    assert not stopwords.is_unspaced("the meeting 会")
    assert not stopwords.is_unspaced("")
