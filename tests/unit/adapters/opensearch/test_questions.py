"""Bodies of searches, and reading what comes back."""

import pytest
from tests.contracts.projections import OTHER, SCOPE

from kalends.adapters.opensearch import questions
from kalends.adapters.opensearch.questions import Analysed, Statistics
from kalends.domain.errors import Unavailable
from kalends.domain.queries import Criteria
from kalends.domain.terms import rarity

TERMS = [("stemmed", "bill"), ("exact", "billing")]
STATISTICS = Statistics(events=10, words={"stemmed": 50, "exact": 60}, holding={("stemmed", "bill"): 2, ("exact", "billing"): 0})


def answer(**more: object) -> dict[str, object]:
    """A whole answer without hits."""
    return {"timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": {"total": {"value": 0}, "hits": []}, **more}


def test_every_question_is_about_one_scope() -> None:
    """Routing alone would mix the memories of a shard."""
    for scope in (SCOPE, OTHER):
        condition = {"term": {"scope": scope.key}}
        asked = questions.search_body(scope.key, TERMS, statistics=STATISTICS, criteria=Criteria(), limit=5)
        counted = questions.statistics_body(scope.key, TERMS)
        assert asked is not None
        assert condition in asked["query"]["bool"]["filter"]
        assert condition in counted["query"]["bool"]["filter"]


def test_words_that_the_memory_does_not_hold_are_not_looked_up() -> None:
    """And without any that it holds there is nothing to ask."""
    body = questions.search_body(SCOPE.key, TERMS, statistics=STATISTICS, criteria=Criteria(), limit=5)
    assert body is not None
    (wanted,) = body["query"]["bool"]["must"][0]["bool"]["should"]
    assert list(wanted["term"]) == ["stemmed"]
    assert questions.search_body(SCOPE.key, TERMS[1:], statistics=STATISTICS, criteria=Criteria(), limit=5) is None


def test_conditions_count_nothing_and_times_are_half_open() -> None:
    """They stand where OpenSearch computes no score."""
    criteria = Criteria(any_of=(("a", "b"), ("c",)), since_us=5, until_us=9)
    body = questions.search_body(SCOPE.key, TERMS, statistics=STATISTICS, criteria=criteria, limit=5)
    assert body is not None
    assert body["query"]["bool"]["filter"][1:] == [
        {"terms": {"tags": ["a", "b"]}},
        {"terms": {"tags": ["c"]}},
        {"range": {"at": {"gte": 5, "lt": 9}}},
    ]


def test_an_answer_that_is_cut_short_is_none() -> None:
    """Half of a memory must not pass for the whole."""
    for broken in (answer(timed_out=True), answer(_shards={"total": 2, "failed": 1}), None, []):
        with pytest.raises(Unavailable):
            questions.hits(broken)
        with pytest.raises(Unavailable):
            questions.total(broken)


def test_words_are_told_apart_by_where_they_begin() -> None:
    """As Java counts: a character beyond the first plane is two; a stop word has no stem, and a word may fall into several."""
    asked = ["𝄞𝄞a", "the", "foo_bar"]
    plain = [{"token": "a", "start_offset": 4}, {"token": "the", "start_offset": 6}]
    plain += [{"token": "foo", "start_offset": 10}, {"token": "bar", "start_offset": 14}]
    stems = [plain[0], *plain[2:]]
    told = {"detail": {"tokenfilters": [{"name": "asciifolding", "tokens": plain}, {"name": "english", "tokens": stems}]}}

    found = questions.read_analysis(told, asked)
    assert [(one.plain, one.stems) for one in found] == [(("a",), ("a",)), (("the",), ()), (("foo", "bar"), ("foo", "bar"))]
    assert [one.stems for one in questions.read_analysis({}, ["", "the"])] == [(), ()]


def test_a_word_is_as_rare_as_its_rarest_stem() -> None:
    """In the text or the lead, whichever knows it better; stop words and an empty memory have no rarity."""
    analysed = [Analysed(start=0, plain=("foo", "bar"), stems=("foo", "bar")), Analysed(start=8, plain=("the",), stems=())]
    holding = {("stemmed", "foo"): 3, ("lead", "foo"): 5, ("stemmed", "bar"): 9, ("lead", "bar"): 0}
    statistics = Statistics(events=10, words={}, holding=holding)

    assert questions.read_rarities(["foo_bar", "the"], analysed, statistics) == {"foo_bar": rarity(5, 10), "the": 0.0}
    empty = Statistics(events=0, words={}, holding={})
    assert questions.read_rarities(["foo_bar", "the"], analysed, empty) == {"foo_bar": 0.0, "the": 0.0}


def test_statistics_are_read_in_the_order_in_which_they_were_asked() -> None:
    """The buckets have no names, so that no word stands in them."""
    buckets = [{"doc_count": 2}, {"doc_count": 0}]
    counted = {"terms": {"buckets": buckets}, "stemmed": {"value": 50.0}, "exact": {"value": 60.0}}
    told = answer(hits={"total": {"value": 10}, "hits": []}, aggregations=counted)

    assert questions.read_statistics(told, TERMS) == STATISTICS
    assert questions.read_statistics(answer(), TERMS) == Statistics(events=0, words={}, holding={})
