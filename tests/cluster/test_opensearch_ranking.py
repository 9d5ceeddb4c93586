"""The shared index ranks as the embedded engine does, which gives each memory an index of its own.

Belongs here: both engines on the same corpus. Does not belong here: whether the ranking is good (``tests/bench``). A newcomer would get
wrong: scores differ in the fourth digit, because the average length reaches OpenSearch in classes; so neighbours whose scores are nearly
equal may change places.
"""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.contracts.projections import entry, facets, key_of, tombstone
from tests.support.opensearch.stores import SMALL, fresh_generations, made

from kalends.adapters.embedded import words as embedded
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.opensearch import OpenSearchLexicon
from kalends.domain.queries import Criteria, Entry, Filter, Scored
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.domain.terms import normalised

pytestmark = pytest.mark.cluster

ALL = Criteria()
MEMORIES = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(5)]
TOLERANCE = 0.005
"""Of a score, relative: half a class of the average length, and what the weight loses to it."""

STEMS = "talk invoice bill ship travel garden cook paint measure deploy singl lie generalis relational hope run argue fly"
ENDINGS = ("", "s", "ed", "ing", "er", "ly", "ies", "ation", "fulness", "'s")
RARE = "café naïve Straße Москва ΑΘΗΝΑ 東京 北京大学 ใบแจ้งหนี้ \uff46\uff55\uff4c\uff4c e-mail 3.14 foo_bar 2023-05-01 🎉 I'll"


def words(source: random.Random) -> list[str]:
    """A vocabulary in which a few words are frequent and most are rare."""
    found = [stem + ending for stem in STEMS.split() for ending in ENDINGS]
    source.shuffle(found)
    return ["the", "we", "of", "about", *found, *RARE.split()]


def corpus(source: random.Random) -> list[Entry]:
    """A thousand events of several memories, which differ in size, in how long their events are, and in what they talk about."""
    vocabulary = words(source)
    found = []
    for number in range(1000):
        memory = min(4, int(source.expovariate(0.7)))
        own = vocabulary[memory * 20 :] + vocabulary[: memory * 20]
        weights = [1 / (place + 3) for place in range(len(own))]
        text = " ".join(source.choices(own, weights, k=1 + int(source.expovariate(1 / (8 * (memory + 1))))))
        session = facets(f"s{number % 3}")
        one = entry(f"e{number}", text, version=number + 1, scope=MEMORIES[memory], at=number, with_facets=session)
        found.append(replace(one, lead=f"Monday 3 May {source.choice(['Ann', 'Bob', 'Caroline'])}"))
    return found


@pytest.fixture
async def shared() -> AsyncIterator[OpenSearchLexicon]:
    """An empty shared index; one shard, so that all memories surely share it."""
    async with fresh_generations(basis=msgspec.structs.replace(SMALL, shards=1)) as store:
        yield (await made(store)).serving


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[TantivyLexicon]:
    """An empty index of the embedded engine."""
    opened = await TantivyLexicon.open(tmp_path / "apart")
    yield opened
    await opened.close()


def same_ranking(ours: Sequence[Scored], theirs: Sequence[Scored]) -> None:
    """Both found the same events with the same scores, up to the tolerance, and in the same order but for near ties."""
    scores = {hit.key: hit.score for hit in theirs}
    assert len(ours) == len(theirs)
    for hit, other in zip(ours, theirs, strict=True):
        assert hit.score == pytest.approx(other.score, rel=TOLERANCE, abs=1e-4)
        # at the end of the list a near tie may fall on either side of the limit
        assert hit.key not in scores or scores[hit.key] == pytest.approx(other.score, rel=2 * TOLERANCE, abs=1e-4)


async def test_rankings_are_those_of_an_index_for_each_memory(shared: OpenSearchLexicon, apart: TantivyLexicon) -> None:
    """Many questions over several memories in one shard, with and without filters, stop words and long tails included."""
    source = random.Random(11)
    events = corpus(source)
    for index in (shared, apart):
        await index.put(events)
    asked = [" ".join(source.choices(words(source), k=source.randint(1, 8))) for _ in range(60)]
    found = 0
    for text in asked:
        scope = source.choice(MEMORIES)
        criteria = source.choice([ALL, Filter(session_id=("s1",)).criteria(), Criteria(since_us=events[300].occurred_us)])
        ours = await shared.search(scope, text, criteria=criteria, limit=20)
        same_ranking(ours, await apart.search(scope, text, criteria=criteria, limit=20))
        found += len(ours)

    assert found > 300


async def test_rarities_are_those_of_an_index_for_each_memory(shared: OpenSearchLexicon, apart: TantivyLexicon) -> None:
    """To the last digit, for they come from counts; words that nobody used, stop words and words that fall apart included."""
    source = random.Random(12)
    events = corpus(source)
    gone = [tombstone(f"gone{number}", version=5000 + number, scope=MEMORIES[0]) for number in range(7)]
    for index in (shared, apart):
        await index.put(events, gone)
    asked = [word.lower() for word in words(source)] + ["the", "foo_bar", "nobody", "ˀ", "\U0001d4b3 y", "", "i̇", "bob"]
    for scope in (*MEMORIES, Scope(Tenant("acme"), MemoryName("empty"))):
        assert await shared.rarities(scope, asked) == pytest.approx(await apart.rarities(scope, asked))


async def test_every_kind_of_character_makes_the_same_words(shared: OpenSearchLexicon) -> None:
    """Of every piece of Unicode below the ideographs the analysers of both engines make the same.

    But for one letter: of the dotted capital I (U+0130) tantivy keeps the dot.
    """
    pieces = ["".join(map(chr, range(start, start + 6))) for start in range(0xA1, 0x3400, 6)]
    pieces = [normalised(piece) for piece in pieces if piece.isprintable() and "\u0130" not in piece]
    asked = [piece for piece in pieces if not any(map(str.isspace, piece))] + words(random.Random(1))
    place = await shared._place(MEMORIES[0].key)
    analysed = await shared._analysed(place, asked)
    analysers = embedded.analysers()
    differing = {
        text: (one.plain, one.stems)
        for text, one in zip(asked, analysed, strict=True)
        if list(one.plain) != analysers["exact"].analyze(text) or list(one.stems) != analysers["stemmed"].analyze(text)
    }

    assert len(asked) > 1000
    assert differing == {}


async def test_what_others_hold_moves_no_score(shared: OpenSearchLexicon) -> None:
    """Not by a single bit: in the same shard a thousand events of other memories use the same words, in much longer events."""
    scope = MEMORIES[0]
    texts = ("billing", "billing invoices and more", "the weather", "invoices of the garden")
    await shared.put([entry(f"e{number}", text, version=number + 1, scope=scope) for number, text in enumerate(texts)])
    before = [await shared.search(scope, text, criteria=ALL, limit=5) for text in ("billing invoices", "garden weather")]
    others = [
        entry(f"o{number}", "invoices " * 40 + "garden", version=number + 1, scope=MEMORIES[1 + number % 4]) for number in range(1000)
    ]
    await shared.put(others)

    assert [await shared.search(scope, text, criteria=ALL, limit=5) for text in ("billing invoices", "garden weather")] == before


async def test_a_question_of_thousands_of_words_is_answered(shared: OpenSearchLexicon) -> None:
    """OpenSearch refuses more than a thousand conditions, so the tail is cut off and not the answer."""
    await shared.put([entry("a", "billing 北京大学", scope=MEMORIES[0])])
    long = "billing " + " ".join(f"word{number}" for number in range(3000))
    unspaced = "北京大学" + "".join(chr(0x4E00 + number) for number in range(3000))

    for text in (long, unspaced, f"{long} {unspaced}"):
        hits = await shared.search(MEMORIES[0], text, criteria=ALL, limit=3)
        assert [hit.key for hit in hits] == [key_of("a", scope=MEMORIES[0])]
