"""Canary questions over real engines: what they find, what they miss, and what is gone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import OTHER, SCOPE, Engines, engines, event, event_id, ledger
from tests.support.reading import Search
from tests.support.retention import Keeping, keeping

from kalends.domain.canaries import MOST
from kalends.domain.erasures import Selector
from kalends.domain.errors import Conflict, Invalid, NotFound, Unavailable
from kalends.domain.events import event_key
from kalends.ingest.documents import NewDocument

TALK = {
    "trip": "Last summer I hiked through the Lofoten islands with my sister.",
    "food": "My favourite dish is mackerel with potatoes.",
    "work": "I repair church organs for a living.",
    "pet": "Our cat is called Semaphore and she is afraid of thunder.",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A memory of one conversation, its engines, its search, and what erases in it."""

    made: Engines
    search: Search
    keep: Keeping

    async def put(self, name: str, question: str, *expect: str, **more: Any) -> Any:
        """Set a question that must find the events that the tests call *expect*."""
        body = {"question": question, "expect": [event_id(one) for one in expect], **more}
        return await self.search.ask("canaries.set", {"canary": name}, body=body)

    async def show(self, name: str) -> Any:
        """One question."""
        return await self.search.ask("canaries.show", {"canary": name})

    async def states(self) -> dict[str, str]:
        """What became of each question."""
        return {one["canary"]: one["state"] for one in (await self.search.ask("canaries.list"))["items"]}

    async def forget(self, selector: Selector) -> None:
        """Have something hidden."""
        await self.keep.asking.ask(SCOPE, selector, reason="request", by="t")

    async def keys(self) -> int:
        """How many keys are stored."""
        return await self.made.ledger.bus.keys.count()


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    """Four events, indexed."""
    async with ledger(tmp_path, chunk_tokens=24) as books, engines(books, tmp_path) as opened:
        await books.memory()
        opened.start()
        await opened.index(*(event(name, text, minute=10 * minute) for minute, (name, text) in enumerate(TALK.items())))
        keep = keeping(books)
        yield Asked(made=opened, search=Search(opened, hidden=keep.hidden), keep=keep)


async def test_a_question_is_asked_as_a_search_is_and_judged_by_what_must_be_found(asked):
    """By words, by meaning, and one that cannot: all of what is expected must be among the best."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    await asked.put("job", "What does he do for work?", "work", within=2)
    await asked.put("both", "cat Semaphore", "pet", "food", within=1)
    report = await asked.search.ask_canaries()

    assert report.text == "3 questions of 1 memories: 2 found, 1 missed, 0 gone"
    assert await asked.states() == {"both": "missed", "cat": "found", "job": "found"}
    assert sorted(asked.made.verdicts) == ["found", "found", "missed"]
    assert (await asked.search.ask("canaries.list"))["accuracy"] == pytest.approx(2 / 3)


async def test_a_chunk_of_a_document_can_be_expected(asked):
    """Then documents are asked too."""
    text = "# Tides\n\nHigh water is at noon on Thursdays."
    document = NewDocument(document_id="tides", text=text, title="", source="", markdown=True, occurred_at=None, metadata={})
    kept = await asked.made.ledger.keep.keep(SCOPE, document)
    await asked.made.caught_up()
    body = {"question": "when is high water?", "expect": [kept.record.chunk_ids[0]], "within": 1}
    await asked.search.ask("canaries.set", {"canary": "tides"}, body=body)
    await asked.search.ask_canaries()

    assert await asked.states() == {"tides": "found"}


async def test_what_an_index_lost_is_missed(asked):
    """Since when is told, and moves only when something changes."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    await asked.search.ask_canaries()
    found = await asked.show("cat")
    for engine in (asked.made.lexicon, asked.made.vectors):
        assert await engine.remove(SCOPE.key, await engine.held(SCOPE.key, [event_key(SCOPE, event_id("pet"))])) == 1
    await asked.search.ask_canaries()
    missed = await asked.show("cat")
    await asked.search.ask_canaries()
    again = await asked.show("cat")

    assert [one["state"] for one in (found, missed, again)] == ["found", "missed", "missed"]
    assert found["since"] < missed["since"] == again["since"]
    assert missed["asked_at"] < again["asked_at"]


async def test_an_arm_that_is_not_found_is_no_memory_that_was_erased(asked):
    """Its index is lost: what the other one finds is found, and where none is left it is said that nothing could be asked."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    asked.made.lexicon.leave("search", error=NotFound("the index is gone"))
    asked.made.vectors.leave("nearest", error=NotFound("the index is gone"))
    with pytest.raises(Unavailable):
        await asked.search.ask_canaries()
    asked.made.lexicon.come_back()
    report = await asked.search.ask_canaries()

    assert report.verdicts["found"] == 1


async def test_something_that_is_not_found_does_not_pass_for_an_erased_memory(asked):
    """Only a memory that does not exist any more is passed over in silence."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    asked.made.ledger.timeline.leave("lookup", error=NotFound("something else"))

    with pytest.raises(NotFound, match="something else"):
        await asked.search.ask_canaries()


async def test_what_is_hidden_is_no_miss_and_is_asked_for_again_when_that_is_undone(asked):
    """It may be undone, so nothing is dropped yet."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    erasure = await asked.keep.asking.ask(SCOPE, Selector(kind="session_id", session="s"), reason="request", by="t", undo_s=600)
    await asked.search.ask_canaries()
    hidden = await asked.show("cat")
    await asked.keep.asking.undo(SCOPE, erasure.erasure_id)
    await asked.search.ask_canaries()

    assert (hidden["state"], hidden["expect"], hidden["gone"]) == ("gone", [event_id("pet")], 0)
    assert (await asked.show("cat"))["state"] == "found"


async def test_an_erasure_takes_its_ids_out_of_questions_before_it_is_done(asked):
    """A question that still expects something keeps its words; of one that does not nothing is left but its name."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    await asked.put("both", "What about the organ and the cat?", "work", "pet")
    await asked.forget(Selector(kind="event_ids", event_ids=(event_id("pet"),)))
    (done,) = await asked.keep.erase(asked.made)
    before = await asked.show("cat"), await asked.show("both")
    report = await asked.search.ask_canaries()

    assert done.state == "erased"
    assert [(one["question"], one["expect"], one["gone"]) for one in before] == [
        (None, [], 1),
        ("What about the organ and the cat?", [event_id("work")], 1),
    ]
    assert (report.verdicts["gone"], report.verdicts["missed"]) == (1, 0)


async def test_an_id_that_no_erasure_took_out_is_dropped_by_the_next_run(asked):
    """As after a restore from a backup that is older than the erasure."""
    await asked.put("cat", "cat Semaphore", "pet", within=1)
    stored = await asked.made.ledger.canaries.find(SCOPE, "cat")
    await asked.forget(Selector(kind="event_ids", event_ids=(event_id("pet"),)))
    await asked.keep.erase(asked.made)
    there = await asked.made.ledger.canaries.find(SCOPE, "cat")
    await asked.made.ledger.canaries.put(replace(stored, revision=there.revision))
    await asked.search.ask_canaries()

    left = await asked.show("cat")
    assert (left["question"], left["expect"], left["gone"], left["state"]) == (None, [], 1, "gone")


async def test_the_questions_of_a_memory_go_with_everything_in_it(asked):
    """Records and keys; another memory's stay."""
    await asked.made.ledger.memory(OTHER)
    await asked.made.index(event("other", "The ferry leaves at nine."), scope=OTHER)
    body = {"question": "ferry", "expect": [event_id("other")]}
    await asked.search.ask("canaries.set", {"canary": "ferry"}, scope=OTHER, body=body)
    await asked.put("cat", "cat Semaphore", "pet")
    await asked.forget(Selector(kind="everything"))
    await asked.keep.erase(asked.made)

    assert await asked.made.ledger.canaries.owners() == {OTHER.key}
    assert [key async for key in asked.made.ledger.bus.keys.references(SCOPE, limit=10)] in ([], [{}])
    assert (await asked.search.ask_canaries()).verdicts == {"found": 1, "missed": 0, "gone": 0}


async def test_the_same_question_again_changes_nothing(asked):
    """Another one begins anew, with one key as before."""
    first = await asked.put("cat", "cat Semaphore", "pet", within=1)
    keys = await asked.keys()
    assert asked.search.status == 201
    await asked.search.ask_canaries()
    again = await asked.put("cat", "cat Semaphore", "pet", within=1)
    assert asked.search.status == 200
    other = await asked.put("cat", "who is afraid?", "pet", within=1)

    assert (first["state"], again["state"], other["state"]) == ("new", "found", "new")
    assert await asked.keys() == keys


async def test_what_is_expected_must_be_there(asked):
    """Each that is not is named by its place; an event of another memory is not there."""
    await asked.made.ledger.memory(OTHER)
    await asked.made.index(event("other", "The ferry leaves at nine."), scope=OTHER)
    with pytest.raises(Invalid) as caught:
        await asked.put("cat", "cat Semaphore", "pet", "nothing", "other")

    assert [fault.pointer for fault in caught.value.faults] == ["/expect/1", "/expect/2"]
    assert await asked.states() == {}


async def test_what_is_being_erased_cannot_be_expected(asked):
    """Neither before it is fenced nor after."""
    await asked.forget(Selector(kind="session_id", session="s"))

    with pytest.raises((Invalid, Unavailable)):
        await asked.put("cat", "cat Semaphore", "pet")
    assert await asked.states() == {}


async def test_a_memory_has_a_hundred_questions_at_most(asked):
    """One that is there can still be changed, and one that is removed makes room."""
    stored = await asked.put("c0", "cat Semaphore", "pet")
    one = await asked.made.ledger.canaries.find(SCOPE, "c0")
    for number in range(1, MOST):
        await asked.made.ledger.canaries.put(replace(one, name=f"c{number}", revision=0))
    with pytest.raises(Conflict):
        await asked.put("more", "cat Semaphore", "pet")
    assert (await asked.put("c0", "who is afraid?", "pet"))["set_at"] > stored["set_at"]
    await asked.search.ask("canaries.remove", {"canary": "c1"})

    assert (await asked.put("more", "cat Semaphore", "pet"))["canary"] == "more"


async def test_a_question_that_is_not_there_is_not_found(asked):
    """To be shown or removed; nor is one of a memory that is not there."""
    for row, body in (("canaries.show", None), ("canaries.remove", None)):
        with pytest.raises(NotFound):
            await asked.search.ask(row, {"canary": "absent"}, body=body)
    with pytest.raises(NotFound):
        await asked.search.ask("canaries.list", scope=OTHER)


async def test_a_memory_that_cannot_be_asked_does_not_keep_the_others_from_it(asked):
    """The run says that it failed; what was asked counts."""
    await asked.made.ledger.memory(OTHER)
    await asked.made.index(event("other", "The ferry leaves at nine."), scope=OTHER)
    await asked.search.ask("canaries.set", {"canary": "ferry"}, scope=OTHER, body={"question": "ferry", "expect": [event_id("other")]})
    await asked.put("cat", "cat Semaphore", "pet")
    # a question that the search refuses fails in one of the two memories only
    stored = await asked.made.ledger.canaries.find(SCOPE, "cat")
    await asked.made.ledger.canaries.put(replace(stored, question="\0"))
    with pytest.raises(Invalid):
        await asked.search.ask_canaries()

    assert asked.made.verdicts == ["found"]
    assert await asked.states() == {"cat": "new"}


def _asking(stored: Any, question: str) -> Any:
    """The same with another question."""
    from dataclasses import replace

    return replace(stored, question=question)
