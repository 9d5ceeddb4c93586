"""The suite of the port ``summarizer``, over the extractive summarizer with the embedded model and over the writer with a chat model."""

from collections.abc import AsyncIterator

import pytest
from tests.support import talk
from tests.support.attacks import ATTACKS
from tests.support.chat_server import chat_server
from tests.support.engines import Steps, shared_embedder
from tests.support.writers import Notes, unlimited

from kalends.adapters.embedded.tokens import MiniLmTokenizer
from kalends.adapters.vllm.chat import open_chat
from kalends.ports.summarizer import Summarizer
from kalends.summarize.chat import ChatSummarizer
from kalends.summarize.extractive import ExtractiveSummarizer
from kalends.summarize.writing import Writer

TALKS = [talk.BILLING, talk.FLAT, talk.GERMAN, talk.JAPANESE, talk.SUPPORT_GROUP, talk.INCIDENT]


@pytest.fixture(params=["extractive", "chat"])
async def summarizer(request: pytest.FixtureRequest) -> AsyncIterator[Summarizer]:
    """Each summarizer in turn."""
    extractive = ExtractiveSummarizer(shared_embedder())
    if request.param == "extractive":
        yield extractive
        return
    notes = Notes()
    async with chat_server() as server:
        chat = open_chat(server.url, model="small", deadline_s=30.0)
        yield Writer(
            extractive,
            chat=ChatSummarizer(chat, tokenizer=MiniLmTokenizer()),
            budget=unlimited(),
            clock=Steps(),
            fell_back=notes.fell_back,
            took=notes.took,
        )
        await chat.close()


@pytest.mark.parametrize("lines", TALKS, ids=lambda lines: lines[0][:20])
async def test_every_claim_rests_on_excerpts_of_what_was_said(summarizer: Summarizer, lines: tuple[str, ...]) -> None:
    """Letter by letter; one to five claims, with a title and keywords, in the order of time."""
    material = talk.material(*lines)
    summary = await summarizer.summarize(material, memory="acme/notes")

    assert talk.is_borne_out(summary, material)
    assert 1 <= len(summary.claims) <= 5
    assert summary.title.strip()
    assert len(summary.title.split()) <= 10
    assert 1 <= len(summary.keywords) <= 7
    first = [int(claim.evidence[0].key[1:]) for claim in summary.claims]
    assert first == sorted(first)
    assert summary.author
    assert summary.degraded == ""


@pytest.mark.parametrize("lines", TALKS, ids=lambda lines: lines[0][:20])
async def test_the_same_material_gives_the_same_summary(summarizer: Summarizer, lines: tuple[str, ...]) -> None:
    """Whatever was asked in between."""
    material = talk.material(*lines)
    once = await summarizer.summarize(material, memory="acme/notes")
    for other in TALKS:
        await summarizer.summarize(talk.material(*other), memory="acme/diary")

    assert await summarizer.summarize(material, memory="acme/notes") == once


async def test_a_material_without_text_has_no_claims(summarizer: Summarizer) -> None:
    """Sessions that only start and end say nothing, and no evidence can be empty."""
    for text in ("", " \n"):
        summary = await summarizer.summarize(talk.material(f"user: {text}", f"user: {text}"), memory="acme/notes")
        assert (summary.claims, summary.title) == ((), "(no text)")


@pytest.mark.parametrize("text", ["Hi", "ok", "42", "これ", "no.", "```\nx = 1\n```", "🎉 yes", "🎉"])
async def test_the_smallest_material_has_one_claim(summarizer: Summarizer, text: str) -> None:
    """And a title that is not empty."""
    material = talk.material(f"user: {text}")
    summary = await summarizer.summarize(material, memory="acme/notes")

    assert talk.is_borne_out(summary, material)
    assert len(summary.claims) == 1
    assert summary.title


@pytest.mark.parametrize("level", ["day", "week", "month", "year"])
async def test_lines_of_nodes_below_are_summarized_as_events_are(summarizer: Summarizer, level: str) -> None:
    """At every level of the calendar."""
    material = talk.material(*talk.BILLING, *talk.FLAT, level=level)
    summary = await summarizer.summarize(material, memory="acme/notes")

    assert talk.is_borne_out(summary, material)
    assert 3 <= len(summary.claims) <= 5


async def test_a_very_long_event_is_summarized_too(summarizer: Summarizer) -> None:
    """As large as an event may be; its excerpts are short all the same."""
    long = "The pump in hall 7 was replaced by a new one. " * 5000
    material = talk.material(f"user: {long}", "user: " + "x" * 200_000, "Priya: The audit is on 3 May in Ghent.")
    summary = await summarizer.summarize(material, memory="acme/notes")

    assert talk.is_borne_out(summary, material)


async def test_identity_is_one_token_that_never_changes_by_itself(summarizer: Summarizer) -> None:
    """A change of it makes every summary out of date."""
    before = summarizer.identity
    await summarizer.summarize(talk.material(*talk.BILLING), memory="acme/notes")

    assert summarizer.identity == before
    assert not any(map(str.isspace, before))


@pytest.mark.parametrize("attack", ["ignore previous", "end of transcript", "german", "chinese"])
async def test_instructions_in_events_are_no_part_of_a_summary(summarizer: Summarizer, attack: str) -> None:
    """Neither as a claim nor as evidence."""
    text, _ = ATTACKS[attack]
    lines = (*talk.INCIDENT[:2], f"stranger: {text}", *talk.INCIDENT[2:])
    material = talk.material(*lines)
    summary = await summarizer.summarize(material, memory="acme/notes")

    assert "k3" not in {piece.key for claim in summary.claims for piece in claim.evidence}
