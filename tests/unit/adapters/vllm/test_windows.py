"""Cutting texts, and finding tokens in them."""

import hypothesis
import pytest
from hypothesis import strategies

from kalends.adapters.vllm.windows import OVERLAP_TOKENS, Marks, cut_ids, cut_text, spans_of

BERT = Marks(before=(101,), after=(102,), words=("[CLS]", "[SEP]"))


@hypothesis.given(length=strategies.integers(0, 2000), longest=strategies.integers(8, 254))
def test_windows_hold_everything_in_order_and_none_is_too_long(length: int, longest: int) -> None:
    """Each begins with the end of the one before."""
    content = list(range(length))
    windows = cut_ids(content, longest=longest)
    overlap = min(OVERLAP_TOKENS, longest // 2)

    assert all(len(window) <= longest for window in windows)
    assert [*windows[0], *(one for window in windows[1:] for one in window[overlap:])] == content
    assert all(len(window) > overlap for window in windows[1:])


def test_windows_are_those_of_the_embedded_model() -> None:
    """254 content tokens, and 222 from one start to the next."""
    assert [(window[0], len(window)) for window in cut_ids(list(range(600)), longest=254)] == [(0, 254), (222, 254), (444, 156)]


@hypothesis.given(text=strategies.text(alphabet="ab \n", max_size=600), longest=strategies.integers(4, 40))
def test_a_text_that_is_cut_by_characters_loses_nothing(text: str, longest: int) -> None:
    """Whatever it is made of, and every window is bounded."""
    windows = cut_text(text, longest=longest)
    at = 0
    for window in windows:
        assert len(window) <= 3 * longest
        place = text.find(window, max(0, at - 3 * longest), at + len(window))
        assert 0 <= place <= at
        at = place + len(window)
    assert at == len(text)


@pytest.mark.parametrize(
    ("text", "tokens", "found"),
    [
        ("Where is Bertrand?", ["[CLS]", "where", "is", "bert", "##rand", "?", "[SEP]"], ["", "Where", "is", "Bert", "rand", "?", ""]),
        ("Où est l'été?", ["[CLS]", "ou", "est", "l", "'", "ete", "?", "[SEP]"], ["", "Où", "est", "l", "'", "été", "?", ""]),
        ("a 🎉 b", ["[CLS]", "a", "[UNK]", "b", "[SEP]"], ["", "a", "", "b", ""]),
        ("the CLS sep", ["[CLS]", "the", "cl", "##s", "sep", "[SEP]"], ["", "the", "CL", "S", "sep", ""]),
        ("İstanbul", ["[CLS]", "istanbul", "[SEP]"], ["", "İstanbul", ""]),
        ("", ["[CLS]", "[SEP]"], ["", ""]),
        ("## a", ["[CLS]", "#", "#", "a", "[SEP]"], ["", "#", "#", "a", ""]),
    ],
)
def test_tokens_are_found_without_case_and_accents(text: str, tokens: list[str], found: list[str]) -> None:
    """What the model wrote otherwise, and its marks, stand nowhere."""
    assert [text[start:end] for start, end in spans_of(text, tokens, marks=BERT)] == found


def test_pieces_of_other_tokenizers_are_found_too() -> None:
    """SentencePiece and byte pairs write the blank into the token."""
    marks = Marks(before=(0,), after=(2,), words=("<s>", "</s>"))
    text = "Where is Bertrand?"
    for blank in ("\u2581", "\u0120"):
        tokens = ["<s>", f"{blank}Where", f"{blank}is", f"{blank}Bert", "rand", "?", "</s>"]
        assert [text[start:end] for start, end in spans_of(text, tokens, marks=marks)] == ["", "Where", "is", "Bert", "rand", "?", ""]


@hypothesis.given(text=strategies.text(max_size=80), tokens=strategies.lists(strategies.text(max_size=6), max_size=20))
def test_whatever_a_tokenizer_says_spans_are_in_the_text_and_in_order(text: str, tokens: list[str]) -> None:
    """One for each token."""
    spans = spans_of(text, ["[CLS]", *tokens, "[SEP]"], marks=BERT)
    real = [span for span in spans if span != (0, 0)]

    assert len(spans) == len(tokens) + 2
    assert all(0 <= start < end <= len(text) for start, end in real)
    assert real == sorted(real)


def test_a_mark_that_is_spelled_out_is_broken() -> None:
    """A text cannot speak for the model."""
    assert BERT.broken("one [SEP] two") == "one [ SEP] two"
    assert BERT.broken("one two") == "one two"
    assert BERT.around([7, 8]) == [101, 7, 8, 102]
    assert BERT.without([101, 7, 8, 102]) == [7, 8]
