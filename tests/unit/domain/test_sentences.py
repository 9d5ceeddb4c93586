"""Where sentences end, and what an excerpt is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import sentences
from kalends.domain.sentences import EXCERPT_CHARS

PIECES = st.sampled_from(
    [
        ". ",
        "! ",
        "? ",
        "\u2026",
        "\n",
        "\n\n",
        "\r\n",
        "```",
        "~~~",
        "- ",
        "1. ",
        "Dr. ",
        "e.g. ",
        "a",
        "B",
        "3.14",
        "\u3002",
        "\uff1f",
        " ",
        '"',
        "x\u0301",
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=80)


def texts(text: str) -> list[str]:
    """The sentences of *text* as strings."""
    return [one.text for one in sentences.split(text)]


@given(TEXTS)
def test_sentences_are_slices_in_order_and_nothing_but_blanks_is_lost(text):
    """So that evidence is found again, letter by letter."""
    end = 0
    for one in sentences.split(text):
        assert not text[end : one.start].strip()
        assert one.text == text[one.start : one.end] == one.text.strip() != ""
        end = one.end
    assert not text[end:].strip()


@given(st.text(max_size=900) | st.lists(st.sampled_from(["word ", "\U0001f1e7\U0001f1ea", "e\u0301", "字"]), max_size=400).map("".join))
def test_an_excerpt_is_a_beginning_that_is_not_too_long(text):
    """And there is one of everything that is not empty."""
    excerpt = sentences.excerpt(text)

    assert text.startswith(excerpt)
    assert len(excerpt) <= EXCERPT_CHARS
    assert excerpt or not text
    assert excerpt == text or len(excerpt) > EXCERPT_CHARS - 60 or len(text) > EXCERPT_CHARS


def test_an_excerpt_ends_between_words():
    """Where there are words."""
    assert sentences.excerpt("word " * 100) == ("word " * 60).rstrip()
    assert sentences.excerpt("字" * 400) == "字" * EXCERPT_CHARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("hi. how are you", ["hi.", "how are you"]),
        (
            "Dr. Smith met J. K. Rowling at 5 p.m. on Jan. 3. Then he left.",
            ["Dr. Smith met J. K. Rowling at 5 p.m. on Jan. 3.", "Then he left."],
        ),
        (
            "It costs 3.14, e.g. in main.py, see https://a.b/c.d?x=1. Good.",
            ["It costs 3.14, e.g. in main.py, see https://a.b/c.d?x=1.", "Good."],
        ),
        ('He said "Stop!" and left. (Why?) Then.', ['He said "Stop!" and left.', "(Why?)", "Then."]),
        ("Wait... what? Well\u2026 fine.", ["Wait... what?", "Well\u2026 fine."]),
        ("Am 3. M\u00e4rz kam er z.B. am Montag. Dann nicht.", ["Am 3. M\u00e4rz kam er z.B. am Montag.", "Dann nicht."]),
        ("今日は晴れです。明日は雨ですか？はい！", ["今日は晴れです。", "明日は雨ですか？", "はい！"]),  # noqa: RUF001 - Japanese
        ("यह ठीक है। वह आया।", ["यह ठीक है।", "वह आया।"]),
        ("1. First\n2. Second. More.\n- third\n\u2022 fourth", ["1. First", "2. Second.", "More.", "- third", "\u2022 fourth"]),
        ("See:\n```py\nx = 1. Y\n\nz!\n```\nafter", ["See:", "```py\nx = 1. Y\n\nz!\n```", "after"]),
        ("~~~\nnever. closed", ["~~~\nnever. closed"]),
        ("Use ``` for code. Yes.", ["Use ``` for code.", "Yes."]),
        ("I can. You and I. Then we.", ["I can.", "You and I.", "Then we."]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_a_sentence_ends_where_its_writer_ended_it(text, expected):
    """In many languages; abbreviations, numbers, addresses and code are left whole."""
    assert texts(text) == expected


def test_a_line_that_a_mail_program_broke_is_joined():
    """One line of sixty characters, then a small letter."""
    text = "This is a long line which was wrapped by a mail program at\nsixty characters. And this\nIs not."

    assert texts(text) == ["This is a long line which was wrapped by a mail program at\nsixty characters.", "And this", "Is not."]


@pytest.mark.parametrize("text", [". ", ".", '."', "`", "```\n", "~~~ `", "\n", "1. ", "a.a", "? \u2026"])
def test_no_text_takes_more_than_linear_time(text):
    """Sixteen times the text in far less than 256 times the time; the times are compared with each other, not with a clock."""

    def cost(length: int) -> float:
        started = time.process_time()
        sentences.split(text * (length // len(text)))
        return time.process_time() - started

    assert min(cost(160_000) for _ in range(2)) < 100 * max(cost(10_000), 0.002)
