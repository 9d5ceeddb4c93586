"""Cutting between what people see as characters."""

import regex
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit import graphemes

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e7\U0001f1ea"
ACCENTED = "e\u0301"
PIECES = st.sampled_from(
    ["a", " ", "\r\n", "\n", FAMILY, FLAG, ACCENTED, "\u0915\u094d\u0937\u093f", "\uac00", "\u1100\u1161", "\u0600", "字"]
)
TEXTS = st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=40)


@given(TEXTS, st.integers(-1, 60))
def test_a_cut_text_is_the_longest_whole_beginning(text, at_most):
    """No shorter than needed, and never within a cluster, unless the first one is too long itself."""
    cut = graphemes.cut(text, at_most)
    ends = [0, *(cluster.end() for cluster in regex.finditer(r"\X", text))]
    fitting = max((end for end in ends if end <= at_most), default=0)

    assert text.startswith(cut)
    assert len(cut) == (fitting or min(max(at_most, 0), len(text)))


@given(TEXTS, st.integers(-1, 60))
def test_a_border_lies_between_two_clusters(text, at_most):
    """Or at the beginning, where nothing can be broken."""
    ends = {0, *(cluster.end() for cluster in regex.finditer(r"\X", text))}

    assert graphemes.border(text, at_most) in ends
    assert graphemes.border(text, at_most) <= max(at_most, 0)


def test_emoji_flags_and_accents_stay_whole():
    """The cases that people notice."""
    assert graphemes.cut(f"a{FAMILY}b", 4) == "a"
    assert graphemes.cut(f"{FLAG}{FLAG}", 3) == FLAG
    assert graphemes.cut(f"caf{ACCENTED}", 4) == "caf"
    assert graphemes.cut("a\r\nb", 2) == "a"
    assert graphemes.cut("plain", 3) == "pla"


def test_a_heap_of_accents_is_cut_all_the_same():
    """Else one character could be as long as a book."""
    assert len(graphemes.cut("a" + "\u0301" * 1000, 300)) == 300
