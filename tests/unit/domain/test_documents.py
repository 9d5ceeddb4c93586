"""Documents: where they are cut, and that nothing is lost by it."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.documents import Chunk, chunks

LINES = (
    st.text(strategies.SENDABLE, max_size=40)
    | st.sampled_from(
        ["", " ", "# One", "## Two ##", "### C#", "#", "####### seven", "    # code", "```", "~~~", "```python", "``` a ``` b"]
    )
    | st.sampled_from(["寿司が好きです。鯖は苦手。", "👩‍👩‍👧‍👦 😀😀😀", "שלום עולם", "word " * 30, "x" * 200, "一" * 90, "a.b? c! d. e"])
)
DOCUMENTS = st.lists(LINES, max_size=14).map("\n".join)
LIMITS = st.integers(min_value=4, max_value=40)


def count(text: str) -> int:
    """Tokens somewhat as the model counts them: runs of four letters, every other character by itself; blanks count nothing."""
    return len(re.findall(r"[a-zA-Z]{1,4}|[^\sa-zA-Z]", text))


def cut(text: str, *, limit: int = 12, markdown: bool = True) -> list[Chunk]:
    """*text* in chunks."""
    return list(chunks(text, limit=limit, count=count, markdown=markdown))


def texts(text: str, *, limit: int = 12, markdown: bool = True) -> list[str]:
    """The texts of the chunks."""
    return [chunk.text for chunk in cut(text, limit=limit, markdown=markdown)]


def without_blanks(text: str) -> str:
    """Every character that can be seen, in order."""
    return "".join(text.split())


@given(DOCUMENTS, LIMITS, st.booleans())
def test_every_character_that_can_be_seen_is_kept_in_its_order(text, limit, markdown):
    """Cutting only takes blanks away."""
    assert without_blanks("".join(texts(text, limit=limit, markdown=markdown))) == without_blanks(text)


@given(DOCUMENTS, st.booleans())
def test_every_line_that_is_not_blank_is_kept_whole_where_all_fits(text, markdown):
    """With room for everything a line is never touched."""
    kept = [line.strip() for chunk in texts(text, limit=10_000, markdown=markdown) for line in chunk.splitlines() if line.strip()]

    assert kept == [line.strip() for line in text.splitlines() if line.strip()]


@given(DOCUMENTS, LIMITS, st.booleans())
def test_no_chunk_is_larger_than_it_may_be(text, limit, markdown):
    """Not even one made of a single endless word."""
    assert [count(chunk) for chunk in texts(text, limit=limit, markdown=markdown) if count(chunk) > limit] == []


@given(DOCUMENTS, LIMITS)
def test_chunks_are_numbered_from_zero_and_none_is_blank(text, limit):
    """Their ids are made of these numbers."""
    made = cut(text, limit=limit)

    assert [chunk.number for chunk in made] == list(range(len(made)))
    assert all(chunk.text.strip() for chunk in made)


@given(DOCUMENTS, LIMITS, st.booleans())
def test_the_same_document_is_always_cut_the_same(text, limit, markdown):
    """A write that was interrupted is finished with the same chunks."""
    assert cut(text, limit=limit, markdown=markdown) == cut(text, limit=limit, markdown=markdown)


@given(DOCUMENTS, st.lists(st.sampled_from(["x = 1", "", "# no heading", "~~~", "print('a. b? c!')"]), max_size=4), DOCUMENTS)
def test_a_fence_that_fits_is_in_one_chunk(before, code, after):
    """With what is blank within it, and whatever looks like a heading there."""
    fence = "\n".join(["````text", *code, "````"])
    closed = re.sub(r"^ {0,3}(`{3,}|~{3,}).*$", "", before, flags=re.MULTILINE)
    closed = "\n".join(line for line in closed.splitlines() if not re.match(r" {0,3}(`{3,}|~{3,})", line))

    assert any(fence in chunk for chunk in texts(f"{closed}\n{fence}\n{after}", limit=60))


def test_a_heading_starts_a_chunk_and_names_what_is_below_it():
    """From the outermost; a heading of the same level takes the place of the one before."""
    made = cut("intro\n\n# Food\n\nwe eat\n\n## Fish\n\nmackerel\n\n## Rice\n\nwhite\n\n# Home\n\nhere", limit=50)

    assert [(chunk.headings, chunk.text) for chunk in made] == [
        ((), "intro"),
        (("Food",), "# Food\n\nwe eat"),
        (("Food", "Fish"), "## Fish\n\nmackerel"),
        (("Food", "Rice"), "## Rice\n\nwhite"),
        (("Home",), "# Home\n\nhere"),
    ]


@pytest.mark.parametrize(
    ("line", "title"),
    [("# C#", "C#"), ("# C# #", "C#"), ("## Two ##  ", "Two"), ("#\tTab", "Tab"), ("# ", ""), ("#", ""), ("# ###", ""), ("   # In", "In")],
)
def test_the_marks_that_close_a_heading_are_no_part_of_it(line, title):
    """Only where a blank stands before them."""
    assert [chunk.headings for chunk in cut(f"{line}\n\nbody")] == [(title,)]


@pytest.mark.parametrize("line", ["####### seven", "#hash", "    # code", "\\# no"])
def test_what_only_looks_like_a_heading_is_text(line):
    """As Markdown has it."""
    assert [chunk.headings for chunk in cut(f"{line}\n\nbody")] == [()]


def test_in_plain_text_nothing_is_a_heading_or_a_fence():
    """A log may begin its lines with anything."""
    assert texts("# a\n\n```\n\nb", markdown=False, limit=50) == ["# a\n\n```\n\nb"]


def test_code_within_a_sentence_opens_no_fence():
    """Backticks that are closed on their own line; else the rest of the document would be code."""
    assert [chunk.headings for chunk in cut("``` x ``` says\n\n# Next\n\nmore")] == [(), ("Next",)]


def test_a_fence_that_is_not_closed_ends_with_the_document():
    """It keeps what looks like a heading."""
    assert [chunk.headings for chunk in cut("a\n\n~~~\n# b\n\nc", limit=50)] == [()]


def test_a_fence_is_closed_by_its_own_mark_only():
    """At least as long, of the same character, and with nothing behind it."""
    text = "````\n```\n~~~~\n```` not yet\n# code\n````\n# Real"

    assert [chunk.headings for chunk in cut(text, limit=50)] == [(), ("Real",)]


def test_a_fence_that_is_too_large_is_cut_between_its_lines():
    """Its lines are whole."""
    lines = [f"line {number}" for number in range(9)]

    made = texts("\n".join(["```", *lines, "```"]), limit=9)

    assert [line for chunk in made for line in chunk.splitlines()] == ["```", *lines, "```"]
    assert len(made) > 1


def test_a_paragraph_that_is_too_large_is_cut_between_its_sentences():
    """In scripts that write a blank between sentences and in those that do not."""
    assert texts("One two three. Four five six. Seven.", limit=8) == ["One two three.", "Four five six. Seven."]
    assert texts("鯖は苦手です。寿司が好きです。", limit=8) == ["鯖は苦手です。", "寿司が好きです。"]


def test_a_sentence_that_is_too_large_is_cut_between_its_words():
    """Before any word is."""
    assert texts("alpha beta gamma delta epsilon zeta", limit=5) == ["alpha beta gamma", "delta epsilon zeta"]


@pytest.mark.parametrize("word", ["x" * 5000, "一" * 500, "😀" * 300, "http://h/" + "a/" * 2000], ids=["latin", "han", "emoji", "link"])
def test_an_endless_word_is_cut_into_characters(word):
    """There is nothing else to cut it at."""
    made = texts(word, limit=20)

    assert "".join(made) == word
    assert max(count(chunk) for chunk in made) <= 20


@pytest.mark.parametrize(
    "line",
    ["# a" + " " * 30_000 + "b", "#" + " " * 30_000, "# " + "# " * 15_000, "# " + "#" * 30_000 + "x", "`" * 30_000, "~" * 30_000 + "`"],
    ids=["gap", "blank heading", "marks", "many marks", "backticks", "tildes"],
)
def test_no_line_takes_more_than_linear_time(line):
    """The test's own time limit stands in for a stopwatch: a cubic pattern would take days."""
    assert without_blanks("".join(texts(line, limit=10_000_000))) == without_blanks(line)


def test_a_blank_document_has_no_chunks():
    """Nothing was said."""
    assert cut(" \n\t\n\u3000") == []


def test_characters_are_not_changed():
    """Composition is the index's business; what was written is kept as it was."""
    decomposed = unicodedata.normalize("NFD", "café Å")

    assert texts(decomposed, limit=50) == [decomposed]
