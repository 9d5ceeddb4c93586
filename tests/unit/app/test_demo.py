"""The demo's data and questions, without an instance."""

import io
import json
from collections import Counter
from datetime import datetime, timedelta
from importlib import resources

import msgspec
from rich.console import Console

from kalends.app.demo import questions
from kalends.app.demo.narrator import Narrator
from kalends.client import Event, Hit
from kalends.ingest.schemas import EventIn

LINES = (resources.files("kalends.app.demo") / "history.jsonl").read_text(encoding="utf-8").splitlines()
HISTORY = [msgspec.json.decode(line, type=EventIn) for line in LINES]
STORY = [questions.KEYWORD, *questions.PARAPHRASES, questions.SEPTEMBER, questions.OCTOBER, *questions.OTHERS]


def test_the_history_is_several_weeks_of_several_sessions_with_tools():
    """What the story promises to be about."""
    times = [event.occurred_at for event in HISTORY]

    assert times == sorted(times)
    assert times[-1] - times[0] > timedelta(weeks=5)
    assert len({event.session_id for event in HISTORY}) >= 12
    assert Counter(event.kind for event in HISTORY)["tool_call"] >= 20
    assert len({event.event_id for event in HISTORY}) == len(HISTORY) >= 150


def test_every_expected_answer_is_in_the_history_and_in_its_time():
    """A question whose answer was edited away fails here, not on a stage."""
    for question in STORY:
        found = [event for event in HISTORY if question.phrase in event.text]
        inside = [
            e
            for e in found
            if (not question.since or e.occurred_at >= question.since) and (not question.until or e.occurred_at < question.until)
        ]
        assert inside, question.text


def test_paraphrases_share_no_word_of_weight_with_their_answers():
    """Otherwise the keywords would find them, and the scene would show nothing."""
    light = {"how", "long", "do", "we", "have", "to", "on", "for", "the", "is", "are", "may", "which", "what", "of", "nobody", "somebody"}
    for question in questions.PARAPHRASES:
        asked = set(question.text.lower().strip("?").split()) - light
        for event in HISTORY:
            if question.phrase in event.text:
                assert not asked & set(event.text.lower().replace(",", " ").replace(".", " ").split())


def _hit(text: str, when: str = "2026-09-23T12:00:00+00:00") -> Hit:
    return Hit(id="1", score=1.0, text=text, occurred_at=datetime.fromisoformat(when), session_id="s")


def test_an_answer_outside_of_the_time_is_wrong():
    """Even if the right one is among them."""
    from kalends.client import SearchAnswer

    right = _hit("it ran out of memory")
    late = _hit("something else", when="2026-10-23T12:00:00+00:00")

    assert questions.SEPTEMBER.right(SearchAnswer(hits=[right]))
    assert not questions.SEPTEMBER.right(SearchAnswer(hits=[right, late]))
    assert not questions.SEPTEMBER.right(SearchAnswer(hits=[]))


def test_questions_are_made_of_a_readers_own_data():
    """Each from words that are rare there; the last one is about one day."""
    events = [
        Event(
            event_id=str(number),
            session_id="s",
            kind="note",
            role="user",
            text=f"{word} happened somewhere near the {word}house",
            occurred_at=datetime.fromisoformat("2026-01-02T10:00:00+00:00"),
        )
        for number, word in enumerate(["quince", "walrus", "turbine"])
    ]

    made = questions.made_of(events)

    assert {question.event_id for question in made} == {"0", "1", "2"}
    assert made[-1].since is not None
    assert questions.made_of([]) == []


def test_the_history_is_plain_json_lines():
    """Readers may open it, and take it as an example for their own."""
    assert all(isinstance(json.loads(line), dict) for line in LINES)


def test_the_same_claim_made_twice_counts_twice():
    """One that failed is not made good by one that held."""
    narrator = Narrator(Console(file=io.StringIO()))
    with narrator.scene("two questions"):
        narrator.check("the right answer is number 1 (11 ms)", holds=False)
        narrator.check("the right answer is number 1 (11 ms)", holds=True)

    assert narrator.failed == ["the right answer is number 1 (11 ms)"]
    assert len(narrator.scenes[0].checks) == 2
