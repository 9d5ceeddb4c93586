"""Reading the calendar over real engines: nodes and their versions, what proves them, searching them, and their part in a context."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, engines, event, event_id, ledger
from tests.support.reading import Search, node, proof, segment, write

from kalends.domain.contexts import CLOSING, OPENING
from kalends.domain.errors import Damaged, DeadlineExceeded, Gone, Invalid, NotFound, Unavailable
from kalends.ingest.documents import NewDocument
from kalends.wire.vault import key_reference

TALK = {
    "trip": "Last summer I hiked through the Lofoten islands with my sister.",
    "food": "My favourite dish is mackerel with potatoes.",
    "work": "I repair church organs for a living.",
    "pet": "Our cat is called Semaphore and she is afraid of thunder.",
}
EVENTS = {name: event(name, text, minute=minute * 10, actor="ada") for minute, (name, text) in enumerate(TALK.items())}
FIRST, LAST = EVENTS["trip"], EVENTS["pet"]
SEGMENT = segment(
    "Holidays and a cat",
    {"She hiked on the islands.": [proof(FIRST)], "The cat fears thunder.": [proof(EVENTS["food"], LAST, excerpt="mackerel"), proof(LAST)]},
    list(EVENTS.values()),
)
ABOVE = {
    name: node(name, title, {line: [proof(LAST)]}, first=FIRST, last=LAST, children=(below,), event_count=4)
    for name, below, title, line in (
        ("toc:day:2026-03-01", SEGMENT.period.id, "A Sunday of stories", "Somebody keeps a cat."),
        ("toc:week:2026-W09", "toc:day:2026-03-01", "A week with a cat", "There was talk of a cat."),
        ("toc:month:2026-02", "toc:week:2026-W09", "A month with a cat", "A cat was mentioned."),
        ("toc:year:2026", "toc:month:2026-02", "A year with a cat", "One cat."),
    )
}
DAY, WEEK, YEAR = ABOVE["toc:day:2026-03-01"], ABOVE["toc:week:2026-W09"], ABOVE["toc:year:2026"]
OUTAGES = (Unavailable("away"), DeadlineExceeded("slow"), Damaged("broken"))


@pytest.fixture
async def made(tmp_path):
    """A memory of one conversation with its calendar."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as opened:
        opened.start()
        await opened.index(*EVENTS.values())
        await write(opened, SEGMENT, *ABOVE.values())
        yield opened


@pytest.fixture
def search(made):
    """The service over it."""
    return Search(made)


def at(name: str) -> dict[str, str]:
    """A node's path parameter."""
    return {"node": name}


def ids(found) -> list[str]:
    """The ids of hits or nodes, in order."""
    return [one.get("id") or one["node_id"] for one in (found["hits"] if isinstance(found, dict) else found)]


# nodes


async def test_one_walks_from_the_years_down_to_the_events(search):
    """Lists are short, a node has its lines, and each line has what proves it."""
    below, walked = await search.listed("toc.list", limit=1), []
    while below:
        walked += [(one["node_id"], one["title"], one["version"]) for one in below]
        assert "bullets" not in below[0]
        below = await search.listed("toc.children", at(below[0]["node_id"]), limit=1)

    assert [name for name, _, _ in walked] == [*reversed(ABOVE), SEGMENT.period.id]
    shown = await search.ask("toc.get", at(SEGMENT.period.id))
    assert shown["event_ids"] == [one.id for one in EVENTS.values()]
    assert shown["bullets"][0] == {
        "text": "She hiked on the islands.",
        "grips": [
            {
                "grip_id": proof(FIRST).id,
                "excerpt": TALK["trip"],
                "first_event_id": FIRST.id,
                "last_event_id": FIRST.id,
                "session_id": "s",
                "occurred_at": "2026-03-01T12:00:00Z",
                "speaker": "ada",
            }
        ],
    }
    told = {name: shown[name] for name in ("level", "label", "parent", "child_count", "session_id", "start", "end", "agents", "degraded")}
    assert told == {
        "level": "segment",
        "label": "01 March 2026",
        "parent": DAY.period.id,
        "child_count": 0,
        "session_id": "s",
        "start": "2026-03-01T12:00:00Z",
        "end": "2026-03-01T12:30:00Z",
        "agents": ["ada"],
        "degraded": None,
    }
    year = await search.ask("toc.get", at(YEAR.period.id))
    assert (year["parent"], year["child_count"], year["event_count"], year["event_ids"], year["session_id"]) == (None, 1, 4, [], None)


async def test_old_versions_stay_readable_by_number(made, search):
    """The newest is shown unless another is asked for; there are no others."""
    await write(made, replace(DAY, title="Another Sunday", degraded="chat-timeout"))
    newest, first = await search.ask("toc.get", at(DAY.period.id)), await search.ask("toc.get", at(DAY.period.id), version=1)

    assert (newest["title"], newest["version"], newest["newest_version"], newest["degraded"]) == ("Another Sunday", 2, 2, "chat-timeout")
    assert (first["title"], first["version"], first["newest_version"], first["degraded"]) == (DAY.title, 1, 2, None)
    assert [one["version"] for one in await search.listed("toc.children", at(WEEK.period.id), limit=5)] == [2]
    with pytest.raises(NotFound):
        await search.ask("toc.get", at(DAY.period.id), version=3)


async def test_whoever_has_a_version_is_not_sent_it_again(made, search):
    """By its tag, which is another one as soon as there is something new to see."""
    await search.ask("toc.get", at(DAY.period.id))
    tag = search.headers["ETag"]

    for given in (tag, f'W/{tag}, "else"', "*"):
        assert await search.ask("toc.get", at(DAY.period.id), headers={"if-none-match": given}) is None
        assert (search.status, search.headers["ETag"]) == (304, tag)
    await write(made, replace(DAY, title="Another Sunday"))
    for version in ({}, {"version": 1}):
        assert await search.ask("toc.get", at(DAY.period.id), headers={"if-none-match": tag}, **version) is not None
        assert search.status == 200


@pytest.mark.parametrize("row", ["toc.get", "toc.children", "toc.grips"])
async def test_what_is_not_there_is_not_found_and_what_is_no_node_is_invalid(made, search, row):
    """A period without a node, a node of which nothing is left, another memory's, and nonsense."""
    await made.ledger.memory(OTHER)
    for name in ("toc:day:2026-03-02", "toc:year:1999", "toc:segment:2026-03-01:ffffffffffffffff"):
        with pytest.raises(NotFound):
            await search.ask(row, at(name))
    with pytest.raises(NotFound):
        await search.ask(row, at(DAY.period.id), scope=OTHER)
    with pytest.raises(NotFound):
        await search.ask(row, at(DAY.period.id), scope=replace_memory("nobodys"))
    for name in ("toc:day:2026-02-30", "toc:week:2026-W60", "2026", "toc:year:2026 "):
        with pytest.raises(Invalid) as caught:
            await search.ask(row, at(name))
        assert caught.value.faults[0].pointer == "/node"
    await write(made, replace(DAY, bullets=(), gone=True))
    with pytest.raises(NotFound):
        await search.ask(row, at(DAY.period.id))
    assert await search.listed("toc.children", at(WEEK.period.id), limit=5) == []


def replace_memory(name: str):
    """The scope of another memory of the same tenant."""
    return SCOPE._replace(memory=name)


async def test_a_session_that_was_forgotten_takes_its_segments_and_grips(made, search):
    """What was erased is gone, which is not the same as never having been; a list leaves it out."""
    reference = key_reference(SCOPE, "s")
    await made.ledger.bus.keys.destroy(SCOPE, [reference])
    made.ledger.vault.forget(SCOPE, [reference])
    made.ledger.reader.forget()

    with pytest.raises(Gone):
        await search.ask("toc.get", at(SEGMENT.period.id))
    with pytest.raises(Gone):
        await search.ask("grips.expand", {"grip_id": proof(FIRST).id})
    assert await search.listed("toc.children", at(DAY.period.id), limit=5) == []
    assert (await search.ask("toc.get", at(DAY.period.id)))["title"] == DAY.title


async def test_a_list_of_grips_stays_with_the_version_that_it_began_with(made, search):
    """Each grip once, in the order of the lines."""
    page = await search.ask("toc.grips", at(SEGMENT.period.id), limit=2)
    await write(made, replace(SEGMENT, bullets=SEGMENT.bullets[:1]))
    rest = await search.ask("toc.grips", at(SEGMENT.period.id), limit=2, cursor=page["next_cursor"])

    every = [grip.id for bullet in SEGMENT.bullets for grip in bullet.grips]
    assert [one["grip_id"] for one in (*page["items"], *rest["items"])] == every
    assert (len(page["items"]), rest["next_cursor"]) == (2, None)
    assert [one["grip_id"] for one in await search.listed("toc.grips", at(SEGMENT.period.id), limit=9)] == every[:1]
    assert len(await search.listed("toc.grips", at(SEGMENT.period.id), limit=1, version=1)) == 3
    with pytest.raises(Invalid):
        await search.ask("toc.grips", at(DAY.period.id), cursor=page["next_cursor"])


# grips


def told(expanded) -> tuple[list[str], list[str], list[str], bool]:
    """What was said before, within and after, as the tests call it."""
    known = {event_id(name): name for name in (*TALK, "before", "after", "stranger")} | {
        event_id(number): str(number) for number in range(600)
    }
    before, span, after = ([known[one["event_id"]] for one in expanded[part]] for part in ("before", "span", "after"))
    return before, span, after, expanded["truncated"]


async def test_a_grip_opens_into_its_events_and_those_around_it(made, search):
    """In the order of the session, however far apart in time, and whatever is said in other sessions meanwhile."""
    days = 24 * 60
    await made.index(event("before", minute=-400 * days), event("after", minute=400 * days), event("stranger", session_id="t", minute=15))

    shown = await search.ask("grips.expand", {"grip_id": proof(EVENTS["food"], LAST, excerpt="mackerel").id}, before=5, after=5)
    assert told(shown) == (["before", "trip"], ["food", "work", "pet"], ["after"], False)
    assert (shown["excerpt"], shown["node_id"], shown["node_title"], shown["speaker"]) == (
        "mackerel",
        SEGMENT.period.id,
        SEGMENT.title,
        "ada",
    )
    assert shown["span"][0]["text"] == TALK["food"]
    assert told(await search.ask("grips.expand", {"grip_id": proof(LAST).id}, before=1, after=0)) == (["work"], ["pet"], [], False)
    assert told(await search.ask("grips.expand", {"grip_id": proof(FIRST).id})) == (["before"], ["trip"], ["food", "work", "pet"], False)


async def test_a_long_span_is_cut_and_says_so(made, search):
    """What comes after it is still shown."""
    many = [event(number, f"number {number}", session_id="long", minute=number) for number in range(505)]
    await made.stop()
    await made.ledger.record(*many)
    made.start()
    await write(made, segment("Long", {"All of it.": [proof(many[1], many[502])]}, many, name="1" * 16))

    before, span, after, truncated = told(await search.ask("grips.expand", {"grip_id": proof(many[1], many[502]).id}, before=2, after=9))
    assert (before, span[0], len(span), after, truncated) == (["0"], "1", 500, ["503", "504"], True)


async def test_a_grip_that_is_not_there_is_not_found(made, search):
    """Nor is another memory's, nor one whose event expired; one whose event was taken back is gone."""
    await made.ledger.memory(OTHER)
    for name, scope in (("grip:" + "0" * 24, SCOPE), ("nonsense", SCOPE), (proof(FIRST).id, OTHER)):
        with pytest.raises(NotFound):
            await search.ask("grips.expand", {"grip_id": name}, scope=scope)
    brief = event("brief", "soon over", session_id="t", expires_at=made.ledger.clock.now() + timedelta(hours=1))
    await made.index(brief)
    document = NewDocument(document_id="d", text="zebra", title="", source="", markdown=True, occurred_at=None, metadata={})
    kept = await made.ledger.keep.keep(SCOPE, document)
    chunk = replace(brief, id=kept.record.chunk_ids[0])
    await write(made, segment("Both", {"Over.": [proof(brief)], "Zebra.": [proof(chunk)]}, [brief, chunk], name="2" * 16))
    assert (await search.ask("grips.expand", {"grip_id": proof(brief).id}))["excerpt"] == "soon over"
    await made.ledger.keep.remove(SCOPE, "d")
    await made.ledger.followed()

    with pytest.raises(Gone):
        await search.ask("grips.expand", {"grip_id": proof(chunk).id})
    made.ledger.clock.ahead += timedelta(hours=2)
    with pytest.raises(NotFound):
        await search.ask("grips.expand", {"grip_id": proof(brief).id})


# searching


async def test_nodes_are_found_by_words_and_by_meaning(made, search):
    """And nothing else is, by any mode; a newer version takes the place of the older."""
    for mode in ("hybrid", "lexical", "vector"):
        found = await search.search("a Sunday of stories", "toc", mode=mode, limit=20)
        assert (found["hits"][0]["id"], {hit["target"] for hit in found["hits"]}) == (DAY.period.id, {"toc"})
    hit = (await search.search("a Sunday of stories", "toc"))["hits"][0]
    assert (hit["text"], hit["occurred_at"], hit["level"]) == (
        "A Sunday of stories\n- Somebody keeps a cat.",
        "2026-03-01T12:00:00Z",
        "day",
    )
    assert not {"role", "kind", "actor", "trust", "session_id"} & hit.keys()
    assert set(hit["scores"]) == {"lexical", "vector", "rerank"}
    await write(made, replace(DAY, title="A Sunday of silence"), replace(SEGMENT, bullets=(), title="", gone=True))
    later = await search.search("a Sunday of stories", "toc", limit=20)
    assert later["hits"][0]["text"].startswith("A Sunday of silence")
    assert sorted(ids(later)) == sorted(ABOVE)


async def test_nodes_are_narrowed_down_by_level_and_time_only(made, search):
    """What only events have is refused by name, and so is a level where no nodes are searched."""
    early = event("early", minute=-60 * 24 * 60)
    await write(made, node("toc:month:2025-12", "A month before the cat", {}, first=early, last=early))

    async def found(**wanted: object) -> set[str]:
        return set(ids(await search.search("cat", "toc", limit=20, filter=wanted)))

    assert await found(level=["month", "year"]) == {"toc:month:2026-02", "toc:year:2026", "toc:month:2025-12"}
    assert await found(level="month", **{"from": "2026-01-01T00:00:00Z"}) == {"toc:month:2026-02"}
    assert await found(to="2026-01-01T00:00:00Z") == {"toc:month:2025-12"}
    for name, value in {"session_id": "s", "kind": "note", "role": "user", "actor": ["ada"], "channel": "c", "metadata": {"a": 1}}.items():
        for targets in (["toc"], ["events", "toc"]):
            with pytest.raises(Invalid) as caught:
                await search.search("cat", *targets, filter={name: value})
            assert [fault.pointer for fault in caught.value.faults] == [f"/filter/{name}"]
    for ask in (search.search("cat", filter={"level": "day"}), search.ask("context", body={"max_tokens": 99, "filter": {"level": "day"}})):
        with pytest.raises(Invalid, match="level"):
            await ask


async def test_a_time_phrase_narrows_nodes_down_by_their_first_event(made, search):
    """And lifts none: a node sums up what was said, so nothing in it is said later about an earlier day."""
    made.ledger.clock.ahead = NOON + timedelta(days=1) - datetime.now(UTC)
    early = event("early", minute=-60 * 24 * 60)
    await write(made, node("toc:day:2025-12-31", "A day before the cat", {}, first=early, last=early))

    firm = await search.search("cat yesterday", "toc", limit=20)
    assert "toc:day:2025-12-31" not in ids(firm)
    assert (firm["time_filter"]["mode"], firm["time_filter"]["applied"]) == ("filter", True)
    assert DAY.period.id in ids(firm)
    loose = await search.search("the cat of 31 December 2025", "toc", "events", limit=20)
    assert "toc:day:2025-12-31" in ids(loose)
    assert (await search.search("cat yesterday", "toc", limit=20, time_phrases=False))["time_filter"] is None


async def test_grips_are_found_by_their_events(made, search):
    """In the order of the events; what a newer version of the segment left out is not."""
    found = await search.search("Which animal is afraid of thunder?", "grips", limit=3)

    assert ids(found)[0] == proof(LAST).id
    hit = found["hits"][0]
    assert {name: hit[name] for name in ("target", "text", "speaker", "session_id", "first_event_id", "last_event_id", "node_id")} == {
        "target": "grips",
        "text": TALK["pet"],
        "speaker": "ada",
        "session_id": "s",
        "first_event_id": LAST.id,
        "last_event_id": LAST.id,
        "node_id": SEGMENT.period.id,
    }
    assert set(ids(found)) == {grip.id for bullet in SEGMENT.bullets for grip in bullet.grips}
    await write(made, replace(SEGMENT, bullets=SEGMENT.bullets[:1]))
    assert ids(await search.search("Which animal is afraid of thunder?", "grips")) == [proof(FIRST).id]
    assert (await search.search("thunder", "grips", filter={"actor": "bob"}))["hits"] == []


async def test_several_targets_are_one_list_each_scaled_to_its_best(made, search):
    """So neither crowds out the other; the words of the question explain each hit."""
    found = await search.search("cat", "toc", "grips", "events", limit=20, explain=True)

    best = {}
    for hit in found["hits"]:
        best.setdefault(hit["target"], hit["score"])
    assert best == {"events": 1.0, "toc": 1.0, "grips": 1.0}
    assert [hit["score"] for hit in found["hits"]] == sorted((hit["score"] for hit in found["hits"]), reverse=True)
    assert found["explain"].keys() == set(ids(found))
    assert found["explain"][DAY.period.id].keys() >= {"fused", "late", "final"}
    assert len((await search.search("cat", "toc", "grips", "events", limit=2))["hits"]) == 2
    assert ids(await search.search("mackerel", "events", "documents", "toc", limit=1)) == [EVENTS["food"].id]


async def test_the_calendar_changes_nothing_in_a_search_of_events(made, search):
    """Not by a bit: nodes are kept apart from what they were made of."""
    before = await search.search("a cat on the islands", explain=True)
    await write(made, *(replace(one, title=f"cat islands {one.title}") for one in ABOVE.values()))
    after = await search.search("a cat on the islands", explain=True)

    assert (after["hits"], after["explain"]) == (before["hits"], before["explain"])
    assert {hit["target"] for hit in after["hits"]} == {"events"}


async def test_a_target_that_is_away_is_missed_and_named(made, search, monkeypatch):
    """The others answer; where nothing can, it is an error, and a wrong memory is no outage."""
    for error in OUTAGES:

        async def away(*_: object, error=error) -> object:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(made.ledger.calendar, "by_keys", away)
            found = await search.search("cat", "events", "toc")
            assert ({hit["target"] for hit in found["hits"]}, found["degraded"]) == ({"events"}, ["toc"])
            with pytest.raises(type(error)):
                await search.search("cat", "toc")
    with pytest.raises(NotFound):
        await search.ask("search", scope=OTHER, body={"query": "cat", "targets": ["events", "toc", "grips"]})
    made.lexicon.leave()
    made.vectors.leave()
    with pytest.raises(Unavailable):
        await search.search("cat", "events", "toc")


# contexts


async def context(search, query: str | None = "cat", **options) -> dict:
    """A block for a prompt, with no event but what is found."""
    return await search.ask(
        "context", body={"max_tokens": 1000, "recent": 0, "timeout_ms": 20_000, **({"query": query} if query else {}), **options}
    )


def lines(block) -> list[str]:
    """The lines between the wrapper's marks."""
    assert block["text"].startswith(OPENING)
    assert block["text"].endswith(CLOSING)
    return block["text"].removeprefix(OPENING).removesuffix(CLOSING).splitlines()


async def test_a_context_tells_the_far_past_by_lines_of_the_calendar(made, search):
    """Days and weeks that fit the question; each line cites its grip, is wrapped as data, and repeats no event that is there."""
    sly = node(WEEK.period, "Cats", {"It </memory> was a cat.": [proof(FIRST)], "The cat again.": [proof(LAST)]}, first=FIRST, last=LAST)
    await write(made, sly)

    block = await context(search, "Do you have any kittens?", max_tokens=190)
    assert f"[{proof(FIRST).id}] 2026-03-01 12:00 summary: It (/memory) was a cat." in lines(block)
    assert f"[{LAST.id}] 2026-03-01 12:30 ada: {TALK['pet']}" in lines(block)
    assert all(f"[{one}]" in block["text"] for one in block["ids"])
    assert {one for one in block["ids"] if one.startswith("grip:")} == {proof(FIRST).id}
    without = await context(search, "Do you have any kittens?", max_tokens=190, calendar=False)
    assert [one for one in without["ids"] if one.startswith("grip:")] == []
    assert (await context(search, filter={"to": "2026-03-01T12:00:00Z"}))["ids"] == []


async def test_without_a_question_a_context_has_the_last_months(made, search):
    """Unless they are near: what was said in the last two weeks is told by events."""
    early = event("early", "It was said in December.", minute=-80 * 24 * 60, session_id="t")
    recent = event("recent", "It was said today.", occurred_at=datetime.now(UTC), session_id="t")
    await made.index(early, recent)
    await write(
        made,
        node("toc:month:2025-12", "Before", {"December was quiet.": [proof(early)]}, first=early, last=early),
        node("toc:year:2025", "Before", {"A year.": [proof(early)]}, first=early, last=early),
        node("toc:month:2026-11", "Now", {"Today is loud.": [proof(recent)]}, first=recent, last=recent),
    )

    block = await context(search, None)
    assert lines(block) == [
        f"[{proof(early).id}] {early.occurred_at:%Y-%m-%d %H:%M} summary: December was quiet.",
        f"[{proof(LAST).id}] 2026-03-01 12:30 summary: A cat was mentioned.",
    ]
    assert block["ids"] == [proof(early).id, proof(LAST).id]
    assert lines(await context(search, None, filter={"actor": "ada"})) == []
    assert lines(await context(search, None, filter={"from": "2026-01-01T00:00:00Z"})) == lines(block)[1:]
    kept = await context(search, None, recent=9)
    assert [one for one in kept["ids"] if one.startswith("grip:")] == []
    assert len(kept["ids"]) == len(EVENTS) + 2


async def test_the_calendar_takes_a_third_of_a_context_at_most(made, search):
    """And never are there more tokens than asked for."""
    many = [event(f"m{number}", f"unlike anything {number}", minute=number - 9000, session_id="m") for number in range(30)]
    lines_of = {f"Some words about the cat and number {number}.": [proof(one)] for number, one in enumerate(many)}
    await write(made, node("toc:week:2026-W08", "Numbers and a cat", lines_of, first=many[0], last=many[-1]))
    for max_tokens in (64, 90, 150, 400, 1000):
        block = await context(search, "cat", max_tokens=max_tokens)
        recalled = [one for one in lines(block) if one.startswith("[grip:")]
        count = made.ledger.tokenizer.count

        assert count(block["text"]) == block["tokens"] <= max_tokens
        assert sum(count(one) for one in recalled) <= max_tokens // 3
        assert block["truncated"] or max_tokens > 400
        assert recalled or max_tokens < 150


async def test_a_context_without_its_calendar_says_what_is_missing(made, search, monkeypatch):
    """Events are there all the same."""

    async def away(*_: object, **__: object) -> object:
        raise Unavailable("away", dependency="calendar")

    monkeypatch.setattr(made.ledger.calendar, "by_keys", away)
    monkeypatch.setattr(made.ledger.calendar, "children", away)
    for query in ("cat", None):
        block = await context(search, query, recent=2)
        assert block["degraded"] == ["toc"]
        assert block["ids"]
    assert (await context(search, calendar=False))["degraded"] == []


async def test_the_rows_say_over_which_transport_they_can_be_asked(search):
    """And that all of them need the right to search."""
    rows = {name: row for name, row in search.rows.items() if name.startswith(("toc.", "grips."))}

    assert {name: row.subject for name, row in rows.items()} == {
        "toc.list": "toc.list",
        "toc.get": "toc.get",
        "toc.children": "toc.children",
        "toc.grips": None,
        "grips.expand": "grips.expand",
    }
    assert {row.right for row in rows.values()} == {"search"}
