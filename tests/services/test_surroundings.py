"""Surroundings over a real timeline: which neighbours may answer, how much they take, and that nothing is asked twice."""

from datetime import timedelta

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, event, event_id, ledger

from kalends.domain.events import event_key
from kalends.domain.queries import Filter
from kalends.ingest.documents import NewDocument
from kalends.search.surroundings import Surroundings
from kalends.settings import SearchSettings

SETTINGS = SearchSettings(smoothing=0.5, smoothing_chars=100)
ORDER = ("one", "two", "three", "four", "five")


def key(name: str):
    """The key of the event called *name*."""
    return event_key(SCOPE, event_id(name))


def keys(*names: str):
    """The keys of these events."""
    return [key(name) for name in names]


class Listening:
    """The real timeline, and what it was asked for."""

    def __init__(self, real) -> None:
        self._real = real
        self.asked = {"neighbours": [], "matching": [], "lengths": []}

    async def neighbours(self, scope, wanted):
        self.asked["neighbours"].append(list(wanted))
        return await self._real.neighbours(scope, wanted)

    async def matching(self, scope, wanted, *, criteria):
        self.asked["matching"].append(list(wanted))
        return await self._real.matching(scope, wanted, criteria=criteria)

    async def lengths(self, scope, wanted):
        self.asked["lengths"].append(list(wanted))
        return await self._real.lengths(scope, wanted)


@pytest.fixture
async def books(tmp_path):
    """A session of five short events, whose third was said by somebody else; and one event in a session of its own."""
    async with ledger(tmp_path) as opened:
        actors = {"three": "bob"}
        session = [event(name, minute=minute, actor=actors.get(name, "ada")) for minute, name in enumerate(ORDER)]
        await opened.record(*session, event("alone", session_id="elsewhere", actor="ada"))
        yield opened


def around(books, *, wanted: Filter | None = None, settings: SearchSettings = SETTINGS, timeline=None) -> Surroundings:
    """The surroundings of a question with that filter."""
    criteria = (wanted or Filter()).criteria()
    return Surroundings(timeline=timeline or books.timeline, scope=SCOPE, criteria=criteria, settings=settings)


async def test_neighbours_are_the_events_before_and_after_in_the_session(books):
    """Whoever is first or last has one, and whoever is alone has none."""
    found = around(books)
    await found.look(keys("one", "three", "alone"), scored={})

    assert found.beside(keys("three")) == keys("two", "four")
    assert found.beside(keys("one")) == keys("two")
    assert found.beside(keys("alone")) == []
    assert found.beside(keys("one", "three")) == keys("two", "two", "four")


async def test_neighbours_are_never_of_another_memory(books):
    """Though it has a session of the same name."""
    await books.memory(OTHER)
    await books.record(event("theirs", minute=1), scope=OTHER)
    found = around(books)
    await found.look(keys(*ORDER), scored={})

    assert set(found.beside(keys(*ORDER))) == set(keys(*ORDER))


async def test_what_does_not_exist_has_no_neighbours_and_takes_nothing(books):
    """An engine may still name what the timeline knows no more."""
    found = around(books)
    scores = {key("gone"): 1.0, key("alone"): 0.5}
    await found.look(list(scores), scored=scores)

    assert found.beside(keys("gone")) == []
    assert found.smoothed(scores, list(scores)) == scores


async def test_a_neighbour_that_was_taken_back_is_passed_over(books):
    """The next that is still there stands in its place."""
    document = NewDocument(document_id="d", text="a", title="", source="", markdown=True, occurred_at=NOON, metadata={})
    kept = await books.keep.keep(SCOPE, document)
    await books.followed()
    chunk = event_key(SCOPE, kept.record.chunk_ids[0])
    await books.keep.remove(SCOPE, "d")
    await books.followed()
    found = around(books)
    await found.look([chunk, *keys(*ORDER)], scored={})

    assert found.beside([chunk]) == []
    assert chunk not in found.beside(keys(*ORDER))


async def test_a_neighbour_that_does_not_meet_the_filter_stays_out(books):
    """It neither comes in, nor takes, nor gives a share."""
    found = around(books, wanted=Filter(actor=("ada",)))
    scores = {key("two"): 1.0, key("four"): 0.4}
    await found.look(list(scores), scored=scores)

    assert found.beside(keys("two", "four")) == keys("one", "five")
    assert key("three") not in found.smoothed(scores, list(scores))


async def test_times_hold_for_neighbours_too(books):
    """As any other criterion does."""
    found = around(books, wanted=Filter(since=NOON + timedelta(minutes=2)))
    await found.look(keys("three"), scored={})

    assert found.beside(keys("three")) == keys("four")


async def test_what_an_arm_found_is_not_checked_again(books):
    """It met the filter there."""
    timeline = Listening(books.timeline)
    found = around(books, timeline=timeline)
    await found.look(keys("two"), scored=dict.fromkeys(keys("one", "two", "three"), 1.0))

    assert timeline.asked["matching"] == []


async def test_nothing_is_asked_twice(books):
    """A question looks three times, at more and more of the same events."""
    timeline = Listening(books.timeline)
    found = around(books, wanted=Filter(actor=("ada",)), timeline=timeline)
    for some in (keys("two"), keys("two", "four"), keys("four", "two"), keys("one", "two", "four", "five")):
        await found.look(some, scored={})

    for method, calls in timeline.asked.items():
        asked = [one for call in calls for one in call]
        assert len(asked) == len(set(asked)), method
    assert timeline.asked["neighbours"] == [keys("two"), keys("four"), keys("one", "five")]


async def test_a_short_event_takes_its_share_of_the_better_neighbour(books):
    """Once, however many neighbours have a score."""
    found = around(books)
    scores = {key("one"): 0.2, key("two"): 0.4, key("three"): 1.0}
    await found.look(list(scores), scored=scores)
    smoothed = found.smoothed(scores, list(scores))

    assert smoothed == pytest.approx({key("one"): 0.4, key("two"): 0.9, key("three"): 1.2, key("four"): 0.5})


async def test_a_long_event_takes_less(books):
    """It speaks for itself: with twice the characters, a quarter of the share."""
    await books.record(
        event("question", "?", session_id="t", minute=10),
        event("medium", "m" * 200, session_id="t", minute=11),
        event("reply", "r" * 10_000, session_id="u", minute=11),
        event("remark", "!", session_id="u", minute=10),
    )
    found = around(books)
    scores = {key("question"): 1.0, key("remark"): 1.0}
    await found.look(list(scores), scored=scores)
    smoothed = found.smoothed(scores, list(scores))

    assert smoothed[key("medium")] == pytest.approx(0.5 / 4)
    assert smoothed[key("reply")] == pytest.approx(0.5 / 10_000)


async def test_among_the_candidates_only_what_has_a_score_counts(books):
    """The last smoothing brings in nobody."""
    found = around(books)
    scores = {key("one"): 1.0, key("two"): 0.5, key("four"): 0.3}
    await found.look(list(scores), scored=scores)

    assert found.smoothed(scores, list(scores), among=True) == pytest.approx({key("one"): 1.25, key("two"): 1.0, key("four"): 0.3})
    assert set(found.smoothed(scores, list(scores))) == {*scores, key("three"), key("five")}


async def test_without_smoothing_no_score_changes(books):
    """A neighbour that comes in then has nothing."""
    found = around(books, settings=SearchSettings(smoothing=0.0))
    scores = {key("one"): 1.0}
    await found.look(list(scores), scored=scores)

    assert found.smoothed(scores, list(scores)) == {key("one"): 1.0, key("two"): 0.0}
