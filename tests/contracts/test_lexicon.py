"""The suite of the port ``lexicon``, over every adapter; what only folders can do stands at the end."""

import asyncio
import itertools
import random
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts import lexicons
from tests.contracts.projections import OTHER, SCOPE, START_US, at_once, entry, facets, key_of, killed_writer, seen_by, swept, tombstone
from tests.support.strategies import TEXTS
from tests.support.waiting import until

from kalends.adapters.embedded import memory_lexicon
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.opensearch import scanning
from kalends.domain.errors import Damaged, Misconfigured, Occupied
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Filter, Held, tag
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.lexicon import LexicalIndex

Reopen = Callable[[], Awaitable[LexicalIndex]]
ALL = Criteria()
_MEMORIES = itertools.count()


@pytest.fixture(params=lexicons.PARAMETERS)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[lexicons.Engine]:
    """Each engine in turn, in a place of the test's own."""
    async with lexicons.ENGINES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def reopen(engine: lexicons.Engine) -> Reopen:
    """Opens the index of this test anew, as after a restart."""
    return engine.open


@pytest.fixture
async def lexicon(engine: lexicons.Engine) -> LexicalIndex:
    """An empty index."""
    return await engine.open()


@pytest.fixture
async def folder_lexicon(tmp_path: Path) -> AsyncIterator[TantivyLexicon]:
    """An empty index of the embedded engine."""
    opened = await TantivyLexicon.open(tmp_path / "lexicon")
    yield opened
    await opened.close()


def memory_of_its_own() -> Scope:
    """A memory that no other example of a property has written to."""
    return Scope(Tenant("acme"), MemoryName(f"m{next(_MEMORIES)}"))


async def found(lexicon: LexicalIndex, text: str, *, criteria: Criteria = ALL, limit: int = 10, scope=SCOPE) -> list[str]:
    """The keys of the best events, best first."""
    return [hit.key for hit in await lexicon.search(scope, text, criteria=criteria, limit=limit)]


async def test_events_are_found_by_their_words_best_first(lexicon: LexicalIndex) -> None:
    """Rare words count more than common ones, and a stem finds its other forms."""
    await lexicon.put([entry("a", "we talked about billing"), entry("b", "we talked about invoices and billing"), entry("c", "we talked")])

    assert (await found(lexicon, "invoice"))[:1] == [key_of("b")]
    assert set(await found(lexicon, "Billing?")) == {key_of("a"), key_of("b")}
    assert await found(lexicon, "nothing of this kind, zebra") == []
    hits = await lexicon.search(SCOPE, "billing invoices", criteria=ALL, limit=10)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_a_memory_never_sees_another(lexicon: LexicalIndex) -> None:
    """Neither in searches nor in counts."""
    await lexicon.put([entry("a", "billing"), entry("a", "billing", scope=OTHER)])

    assert await found(lexicon, "billing") == [key_of("a")]
    assert await found(lexicon, "billing", scope=OTHER) == [key_of("a", scope=OTHER)]
    assert await lexicon.count(SCOPE) == 1


async def test_filters_hold_inside_the_engine(lexicon: LexicalIndex) -> None:
    """The one match among many better ones is found with a limit of one, and filters do not change a score."""
    many = [entry(f"n{number}", "billing billing billing", at=number) for number in range(300)]
    await lexicon.put([*many, entry("wanted", "a word on billing and more", at=500, with_facets=facets("mine", role="assistant"))])

    by_session = Filter(session_id=("mine", "unknown"), role=("assistant",)).criteria()
    by_time = Criteria(since_us=START_US + 500, until_us=START_US + 501)
    assert await found(lexicon, "billing", criteria=by_session, limit=1) == [key_of("wanted")]
    assert await found(lexicon, "billing", criteria=by_time, limit=1) == [key_of("wanted")]
    assert await found(lexicon, "billing", criteria=Criteria(until_us=START_US)) == []
    assert len(await found(lexicon, "billing", criteria=Criteria(since_us=START_US + 299))) == 2
    assert await found(lexicon, "billing", criteria=Criteria(any_of=((tag("kind", "note"),),))) == []
    scores = {criteria: await lexicon.search(SCOPE, "word", criteria=criteria, limit=1) for criteria in (ALL, by_session, by_time)}
    assert len({hits[0].score for hits in scores.values()}) == 1


async def test_labels_hold_inside_the_engine(lexicon: LexicalIndex) -> None:
    """Whoever lacks them gets a full answer of the rest; one of several is enough, and a score is the same for everybody."""
    hidden = [entry(f"n{number}", "billing billing billing", with_facets=facets(labels=("hr",))) for number in range(300)]
    both = entry("both", "a word on billing", with_facets=facets(labels=("board", "hr")))
    await lexicon.put([*hidden, both, entry("open", "a word on billing and more")])

    assert await found(lexicon, "billing", criteria=seen_by(), limit=1) == [key_of("open")]
    assert await found(lexicon, "billing", criteria=seen_by("other")) == [key_of("open")]
    assert set(await found(lexicon, "billing", criteria=seen_by("board"), limit=5)) == {key_of("open"), key_of("both")}
    assert len(await found(lexicon, "billing", criteria=seen_by("hr"), limit=500)) == 302
    assert await found(lexicon, "billing", criteria=seen_by("board", kind=("note",))) == []
    scores = [(await lexicon.search(SCOPE, "more", criteria=criteria, limit=1))[0].score for criteria in (ALL, seen_by(), seen_by("hr"))]
    assert len(set(scores)) == 1


async def test_other_labels_come_with_a_newer_version(lexicon: LexicalIndex) -> None:
    """What was open is hidden from then on, and what was hidden is open."""
    await lexicon.put([entry("a", "billing", version=1), entry("b", "billing", version=1, with_facets=facets(labels=("hr",)))])
    await lexicon.put([entry("a", "billing", version=2, with_facets=facets(labels=("hr",))), entry("b", "billing", version=2)])

    assert await found(lexicon, "billing", criteria=seen_by()) == [key_of("b")]


async def test_an_older_or_equal_version_changes_nothing(lexicon: LexicalIndex) -> None:
    """A redelivery, in the same batch or a later one, cannot undo what is newer."""
    await lexicon.put([entry("a", "old", version=1), entry("a", "current", version=5), entry("a", "older", version=3)])
    await lexicon.put([entry("a", "past", version=4), entry("b", "old", version=2)])
    await lexicon.put([entry("a", "same", version=5), entry("b", "young", version=3)])

    assert await found(lexicon, "old older past same") == []
    assert await found(lexicon, "current") == [key_of("a")]
    assert await found(lexicon, "young") == [key_of("b")]
    assert await lexicon.count(SCOPE) == 2


async def test_a_retracted_event_never_revives(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """Not by a redelivery, not after a restart, not if the retraction came first; only by being recorded anew."""
    await lexicon.put([entry("a", "billing", version=1), entry("b", "billing", version=2)], [tombstone("a", version=4)])
    await lexicon.put([], [tombstone("b", version=5), tombstone("c", version=6)])
    lexicon = await reopen()
    await lexicon.put([entry(name, "billing", version=version) for name, version in (("a", 1), ("b", 2), ("c", 3))])

    assert await found(lexicon, "billing") == []
    assert await lexicon.count(SCOPE) == 0
    await lexicon.put([entry("a", "billing", version=9)])
    assert await found(lexicon, "billing") == [key_of("a")]


async def test_a_tombstone_older_than_the_event_changes_nothing(lexicon: LexicalIndex) -> None:
    """An event that was recorded again stays."""
    await lexicon.put([entry("a", "billing", version=7)])
    await lexicon.put([], [tombstone("a", version=3)])

    assert await found(lexicon, "billing") == [key_of("a")]


async def test_the_digest_tells_contents_and_not_their_history(lexicon: LexicalIndex, engine: lexicons.Engine) -> None:
    """Order, batches and redeliveries leave no trace; tombstones are in it without counting as events."""
    changes = [entry(f"n{number}", "text", version=number + 1) for number in range(30)]
    gone = [tombstone(f"n{number}", version=100 + number) for number in range(5)]
    await lexicon.put(changes, gone)
    shuffled = [*changes, *changes[:10], *gone]
    random.Random(5).shuffle(shuffled)
    other = await engine.open("rebuilt")
    for change in shuffled:
        await (other.put([change]) if change in changes else other.put([], [change]))
    assert await other.digest() == await lexicon.digest()
    assert (await other.digest()).events == 25
    await other.put([], [tombstone("n9", version=200)])
    assert (await other.digest()).digest != (await lexicon.digest()).digest


async def test_a_restart_keeps_everything(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """What was put is found by the index that is opened next."""
    await lexicon.put([entry("a", "billing"), entry("b", "invoices")])
    before = await lexicon.digest()
    lexicon = await reopen()

    assert await found(lexicon, "billing") == [key_of("a")]
    assert await lexicon.digest() == before


async def test_killing_the_writer_loses_nothing_that_was_acknowledged(engine: lexicons.Engine) -> None:
    """What the killed process held does not block the next one either."""
    async with killed_writer(engine.writer, engine.writers_folder(), batches=5) as names:
        lexicon = await engine.open()
        hits = await found(lexicon, "note", limit=10_000)
        assert {key_of(name) for name in names} <= set(hits)
        await lexicon.put([entry("later", "written after the crash")])
        assert await found(lexicon, "crash") == [key_of("later")]


async def test_ties_go_by_key_whatever_the_limit(lexicon: LexicalIndex) -> None:
    """Equal texts rank the same in every batch order, also where a limit cuts them."""
    names = [f"n{number}" for number in range(120)]
    for start in range(0, 120, 40):
        await lexicon.put([entry(name, "the same words") for name in reversed(names[start : start + 40])])

    expected = sorted(key_of(name) for name in names)
    assert await found(lexicon, "words", limit=7) == expected[:7]
    assert await found(lexicon, "words", limit=120) == expected


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("昨日は北京大学に行きました", "北京大学"),
        ("昨日は北京大学に行きました", "北京"),
        ("我喜欢猫和狗", "猫"),
        ("ｶﾀｶﾅで書いた", "カタカナ"),
        ("서울에서 만났어요", "서울"),
        ("เราคุยกันเรื่องใบแจ้งหนี้", "ใบแจ้งหนี้"),
        ("mixed 東京 and English", "東京"),
        ("mixed 東京 and English", "english"),
        ("a naïve café", "naive cafe"),
        ("\uff21\uff22\uff23 ledger", "abc"),
    ],
)
async def test_text_of_many_scripts_is_found(lexicon: LexicalIndex, text: str, query: str) -> None:
    """Scripts without spaces are found by any part of them."""
    await lexicon.put([entry("wanted", text), entry("other", "something else entirely 全然違う話")])

    assert (await found(lexicon, query))[:1] == [key_of("wanted")]


@pytest.mark.parametrize(
    "query", ["", "   ", "!?", "🎉", "()\"'+-*:~^[]{}/\\", "''", "\u200b", "AND OR NOT", "a:b", "don't \"quote", "x" * 5000]
)
async def test_any_text_is_a_legal_question(lexicon: LexicalIndex, query: str) -> None:
    """No sign has a meaning for the engine; a text without words finds nothing."""
    await lexicon.put([entry("a", "billing")])

    assert await found(lexicon, query) == []


async def test_a_word_between_signs_is_still_a_word(lexicon: LexicalIndex) -> None:
    """Apostrophes, quotes and operators around a word do not hide it."""
    await lexicon.put([entry("a", "Caroline's billing said: \"don't panic\" 🎉")])

    for query in ("caroline", "+billing -foo", '"panic"', "(billing", "billing:*", "🎉billing🎉"):
        assert await found(lexicon, query) == [key_of("a")]


@given(text=TEXTS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_written_can_be_asked(lexicon: LexicalIndex, text: str) -> None:
    """Every text that an event may have can be stored and can be a question."""
    scope = memory_of_its_own()
    await lexicon.put([entry("a", text + " anchor", scope=scope)])
    assert await found(lexicon, text + " anchor", scope=scope) == [key_of("a", scope=scope)]


@given(numbers=st.lists(st.integers(min_value=0, max_value=3), max_size=6))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_rarities_fall_with_every_event_that_holds_the_word(lexicon: LexicalIndex, numbers: list[int]) -> None:
    """A word that nobody used is the rarest."""
    scope = memory_of_its_own()
    texts = ["common " + "seldom " * (number == 0) for number in numbers]
    await lexicon.put([entry(f"n{place}", text, scope=scope) for place, text in enumerate(texts)])
    rarities = await lexicon.rarities(scope, ["common", "seldom", "never"])
    assert rarities["common"] <= rarities["seldom"] <= rarities["never"]


async def test_other_memories_do_not_change_a_ranking(lexicon: LexicalIndex) -> None:
    """What is rare is rare within the memory; nobody learns from a score what others hold."""
    await lexicon.put([entry("a", "billing"), entry("b", "billing invoices"), entry("c", "weather")])
    before = await lexicon.search(SCOPE, "billing invoices", criteria=ALL, limit=5)
    await lexicon.put([entry(f"n{number}", "invoices", scope=OTHER) for number in range(50)])

    assert await lexicon.search(SCOPE, "billing invoices", criteria=ALL, limit=5) == before


async def test_more_memories_than_writers_are_kept_apart(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """Whatever is open or put away, each memory finds what was written last."""
    scopes = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(9)]
    for version in (1, 2):
        for scope in scopes:
            await lexicon.put([entry(f"{scope.memory}-{version}", "billing", scope=scope, version=version)])
            assert await lexicon.count(scope) == version
    lexicon = await reopen()

    for scope in scopes:
        hits = await found(lexicon, "billing", scope=scope)
        assert set(hits) == {key_of(f"{scope.memory}-{version}", scope=scope) for version in (1, 2)}
    assert (await lexicon.digest()).events == 18


async def everything_held(lexicon: LexicalIndex, *, limit: int, scope=SCOPE) -> list[Held]:
    """The inventory, piece by piece."""
    found: list[Held] = []
    while piece := await lexicon.inventory(scope.key, after=found[-1].key if found else None, limit=limit):
        found += piece
    return found


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
async def test_the_inventory_is_by_key_whatever_the_pieces(lexicon: LexicalIndex, limit: int) -> None:
    """Tombstones included, in the version of the retraction; another memory is not in it."""
    await lexicon.put(
        [entry(f"n{number}", "billing", version=number + 1) for number in range(40)],
        [tombstone(f"n{number}", version=100 + number) for number in range(4)],
    )
    await lexicon.put([entry("a", "billing", scope=OTHER)], [tombstone("never", version=200)])

    expected = [Held(key=key_of(f"n{number}"), version=number + 1, live=True) for number in range(4, 40)]
    expected += [Held(key=key_of(f"n{number}"), version=100 + number, live=False) for number in range(4)]
    expected.append(Held(key=key_of("never"), version=200, live=False))
    assert await everything_held(lexicon, limit=limit) == sorted(expected, key=lambda one: one.key)
    assert await lexicon.scopes() == sorted([SCOPE.key, OTHER.key])
    assert await lexicon.inventory("nowhere", after=None, limit=5) == []
    asked = [key_of(name) for name in ("n0", "n9", "never", "unheard")]
    held = await lexicon.held(SCOPE.key, asked)
    assert sorted(held, key=lambda one: one.key) == [one for one in sorted(expected, key=lambda one: one.key) if one.key in asked]
    assert await lexicon.held(OTHER.key, asked) == []


async def test_a_sweep_hands_over_everything_once_whatever_the_order(lexicon: LexicalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tombstones included, in pieces, while others write; of an empty memory it hands over nothing."""
    monkeypatch.setattr(memory_lexicon, "SHARE", 7)
    monkeypatch.setattr(scanning, "PAGE", 7)
    named = [(number, f"n{number}") for number in range(40)]
    await lexicon.put(
        [entry(name, "billing", version=number + 1) for number, name in named],
        [tombstone("n3", version=100), tombstone("never", version=200)],
    )
    await lexicon.put([entry("a", "billing", scope=OTHER)])
    before = await everything_held(lexicon, limit=100)
    assert len(before) == 41

    found = await swept(lexicon, between=lambda: lexicon.put([entry("late", "billing", version=500)]))

    assert sorted((one for one in found if one.key != key_of("late")), key=lambda one: one.key) == before
    assert len({one.key for one in found}) == len(found)
    assert await swept(lexicon, OTHER.calendar) == []


async def test_what_is_removed_leaves_no_trace_and_what_is_newer_stays(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """Neither events nor tombstones; an older version may then be written, for nothing says any more that it is older."""
    await lexicon.put([entry("a", "billing", version=5), entry("b", "billing", version=3)], [tombstone("c", version=6)])
    before = await everything_held(lexicon, limit=10)
    by_key = {one.key: one for one in before}
    a, b, c = (by_key[key_of(name)] for name in "abc")

    assert await lexicon.remove(SCOPE.key, [a, replace(b, version=2), replace(c, live=True)]) == 1
    assert await lexicon.remove(OTHER.key, [b]) == 0
    assert await lexicon.remove("nowhere", [b]) == 0
    lexicon = await reopen()
    assert await everything_held(lexicon, limit=10) == [one for one in before if one != a]
    assert await lexicon.remove(SCOPE.key, [b, c]) == 2
    assert await lexicon.scopes() == []
    await lexicon.put([entry("a", "billing", version=1)])
    assert await everything_held(lexicon, limit=10) == [Held(key=key_of("a"), version=1, live=True)]


async def test_keys_whose_upper_halves_are_equal_are_kept_in_order_and_whole(
    lexicon: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine knows only the upper half in order."""
    half = "7f" * 8
    keys = [EventKey(f"{half}{number:016x}") for number in range(30)] + [EventKey("0" * 32), EventKey("f" * 32)]
    await lexicon.put([replace(entry("any", "billing"), key=key) for key in keys])

    for limit in (1, 5, 100):
        assert [one.key for one in await everything_held(lexicon, limit=limit)] == sorted(keys)
    monkeypatch.setattr(memory_lexicon, "SHARE", 4)
    assert sorted(one.key for one in await swept(lexicon)) == sorted(keys)


async def test_what_was_written_is_not_damaged(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """Neither while it is written to, nor after deletions, nor when it was opened again."""
    for start in range(0, 100, 10):
        await lexicon.put([entry(f"n{number}", f"billing number {number}", version=number + 1) for number in range(start, start + 10)])
        assert list(await lexicon.damaged(between=at_once)) == []
    await lexicon.put([], [tombstone(f"n{number}", version=1000 + number) for number in range(0, 100, 2)])

    assert list(await lexicon.damaged(between=at_once)) == []
    assert list(await (await reopen()).damaged(between=at_once)) == []


async def test_compacting_changes_no_answer(lexicon: LexicalIndex, reopen: Reopen) -> None:
    """Writes go on beside it; again does nothing more."""
    for start in range(0, 300, 10):
        await lexicon.put([entry(f"n{number}", f"billing number {number}", version=number + 1) for number in range(start, start + 10)])
    await lexicon.put([], [tombstone(f"n{number}", version=1000 + number) for number in range(0, 300, 2)])
    await lexicon.put([entry("a", "billing", scope=OTHER)])
    before = (await lexicon.digest(), await found(lexicon, "billing number 7"), await everything_held(lexicon, limit=1000))

    freed, *_ = await asyncio.gather(lexicon.compact(), *(lexicon.put([entry(f"later{n}", "sunshine")]) for n in range(5)))

    assert freed >= 0
    assert len(await found(lexicon, "sunshine")) == 5
    assert await found(lexicon, "billing number 7") == before[1]
    held = await lexicon.held(SCOPE.key, [key_of(f"later{n}") for n in range(5)])
    assert await lexicon.remove(SCOPE.key, held) == 5
    await lexicon.compact()
    lexicon = await reopen()
    assert (await lexicon.digest(), await found(lexicon, "billing number 7"), await everything_held(lexicon, limit=1000)) == before


async def test_a_folder_has_one_owner(folder_lexicon: TantivyLexicon, tmp_path: Path) -> None:
    """A second opener is told so."""
    with pytest.raises(Occupied):
        await TantivyLexicon.open(tmp_path / "lexicon")


async def test_a_write_that_failed_leaves_the_index_free_for_the_next(folder_lexicon: TantivyLexicon) -> None:
    """Also while whoever was told keeps the error, and with it all that the failing call had at hand."""
    await folder_lexicon.put([entry("a", "billing")])
    with pytest.raises(Exception, match="int") as kept:
        await folder_lexicon.put([entry("b", "billing"), replace(entry("c", "billing"), version=1 << 64)])

    await folder_lexicon.put([entry("d", "billing")])

    assert {one.key for one in await everything_held(folder_lexicon, limit=10)} == {key_of("a"), key_of("d")}
    assert kept.value.__traceback__ is not None


async def test_a_kill_within_a_commit_does_not_stop_the_next(tmp_path: Path) -> None:
    """It leaves a list of deletions of a commit that never was, and the same commit again makes one of the same name."""
    async with opened(tmp_path / "a") as lexicon:
        await lexicon.put([entry("a", "billing"), entry("b", "billing"), entry("c", "billing")])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with opened(tmp_path / "b") as other:
        await other.put([], [tombstone("a", version=9)])
    (half,) = set(deletions(tmp_path / "b")) - set(deletions(tmp_path / "a"))
    shutil.copy(tmp_path / "b" / half, tmp_path / "a" / half)

    async with opened(tmp_path / "a") as lexicon:
        await lexicon.put([], [tombstone("a", version=9)])

        assert await lexicon.count(SCOPE) == 2
    async with opened(tmp_path / "a") as lexicon:
        assert [(one.key, one.live) for one in await everything_held(lexicon, limit=10)] == sorted(
            [(key_of("a"), False), (key_of("b"), True), (key_of("c"), True)]
        )


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[TantivyLexicon]:
    """A lexicon in a folder, closed at the end."""
    lexicon = await TantivyLexicon.open(folder)
    yield lexicon
    await lexicon.close()


def deletions(folder: Path) -> list[Path]:
    """The engine's lists of deletions below *folder*."""
    return [path.relative_to(folder) for path in folder.glob("*/*.del")]


async def test_a_damaged_folder_is_said_to_be_damaged(folder_lexicon: TantivyLexicon, tmp_path: Path) -> None:
    """So that whoever opens it knows that a rebuild helps."""
    await folder_lexicon.put([entry("a", "billing")])
    await folder_lexicon.close()
    (damaged,) = (tmp_path / "lexicon").glob("*/meta.json")
    damaged.write_text("{", encoding="utf-8")

    with pytest.raises(Damaged):
        await TantivyLexicon.open(tmp_path / "lexicon")


async def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    """Its words were made otherwise and would silently not be found."""
    (tmp_path / "identity").write_text("tantivy0\n", encoding="utf-8")

    with pytest.raises(Misconfigured, match="tantivy0"):
        await TantivyLexicon.open(tmp_path)


async def test_closing_that_was_cut_off_can_be_finished(folder_lexicon: TantivyLexicon, tmp_path: Path) -> None:
    """A search whose caller went away still runs in its thread; whoever closes may be cancelled while it waits for that."""
    begun, release = threading.Event(), threading.Event()
    abandoned = asyncio.create_task(folder_lexicon._read_lane.run(lambda: (begun.set(), release.wait(20))))
    await until(begun.is_set)
    abandoned.cancel()
    closing = asyncio.create_task(folder_lexicon.close())
    await until(lambda: folder_lexicon._read_lane.closed)
    closing.cancel()
    await asyncio.wait([closing])
    release.set()

    await folder_lexicon.close()

    assert closing.cancelled()
    again = await TantivyLexicon.open(tmp_path / "lexicon")
    assert await again.count(SCOPE) == 0
    await again.close()
