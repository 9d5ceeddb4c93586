"""The three requests of a search: the question's words, how often one memory holds them, and the best events.

Belongs here: bodies of requests and reading of answers. Does not belong here: sending them (``lexicon``), writing. A newcomer would get
wrong: every body takes the scope's key and filters by it, the routing alone would let memories of one shard see each other; and the answers
hold ids and numbers only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalends.adapters.opensearch import scoring, words
from kalends.adapters.opensearch.schema import LENGTHS, PATHS
from kalends.domain.errors import Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Scored
from kalends.domain.terms import content_words, grams, normalised, rarity

MOST_HITS = 10_000
"""Hits of one answer at most (``index.max_result_window``)."""

Term = tuple[str, str]
"""A field and a word in it as the index holds it."""


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """What OpenSearch's analysers made of the text between two offsets: the plain word, and its stem unless it is a stop word."""

    start: int
    plain: tuple[str, ...]
    stems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one memory: what it holds, tombstones included, its words by field, and how many events hold each term."""

    events: int
    words: Mapping[str, int]
    holding: Mapping[Term, int]

    def boost(self, term: Term) -> float:
        """The boost of *term* in a query."""
        field = term[0]
        return scoring.boost(field, holding=self.holding.get(term, 0), events=self.events, words=self.words.get(field, 0))


def analysis_body(asked: Sequence[str]) -> dict[str, Any]:
    """Asks for the plain and the stemmed words of *asked*, which hold no space."""
    return {"analyzer": "stemmed", "explain": True, "text": " ".join(asked)}


ANALYSIS_PARAMS = {"filter_path": "detail.tokenfilters.name,detail.tokenfilters.tokens.token,detail.tokenfilters.tokens.start_offset"}


def read_analysis(answer: Any, asked: Sequence[str]) -> list[Analysed]:
    """For each of *asked* its plain words and its stems, in order."""
    stages = {stage["name"]: stage.get("tokens", []) for stage in _at(answer, "detail", "tokenfilters", default=[])}
    plain, stems = _by_start(stages.get("asciifolding", [])), _by_start(stages.get("english", []))
    found, start = [], 0
    for word in asked:
        end = start + _units(word)
        within = [place for place in sorted({*plain, *stems}) if start <= place < end]
        found.append(
            Analysed(
                start=start,
                plain=tuple(one for place in within for one in plain.get(place, ())),
                stems=tuple(one for place in within for one in stems.get(place, ())),
            )
        )
        start = end + 1
    return found


def asked_words(text: str) -> list[str]:
    """The words of a question that are looked up."""
    return [word for word in content_words(normalised(text)) if word]


def terms_of(text: str, analysed: Sequence[Analysed]) -> list[Term]:
    """The terms of a question, each once."""
    stems = [stem for one in analysed for stem in one.stems]
    by_field = {
        "cjk": grams(normalised(text), question=True),
        "stemmed": stems,
        "lead": stems,
        "exact": [plain for one in analysed for plain in one.plain],
    }
    return [(field, term) for field, terms in words.bounded(by_field).items() for term in terms]


def statistics_body(scope_key: str, terms: Sequence[Term]) -> dict[str, Any]:
    """Asks how much the memory holds, how many words in each field, and how many events hold each of *terms*."""
    counts: dict[str, Any] = {field: {"sum": {"field": LENGTHS[field]}} for field in dict.fromkeys(field for field, _ in terms)}
    if terms:
        counts["terms"] = {"filters": {"filters": [{"term": {PATHS[field]: term}} for field, term in terms]}}
    found = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": [of_scope(scope_key)]}}}
    return {**found, "aggs": counts} if counts else found


def read_statistics(answer: Any, terms: Sequence[Term]) -> Statistics:
    """The statistics in an answer."""
    events = total(answer)
    if not events:
        # an index that is not made yet has no counts either
        return Statistics(events=0, words={}, holding={})
    buckets = _at(answer, "aggregations", "terms", "buckets", default=[])
    return Statistics(
        events=events,
        words={field: int(_at(answer, "aggregations", field, "value", default=0)) for field in dict.fromkeys(field for field, _ in terms)},
        holding={term: int(bucket["doc_count"]) for term, bucket in zip(terms, buckets, strict=True)},
    )


def search_body(scope_key: str, terms: Sequence[Term], *, statistics: Statistics, criteria: Criteria, limit: int) -> dict[str, Any] | None:
    """Asks for the best *limit* events; None if no term is held by any."""
    wanted = [
        {"term": {PATHS[term[0]]: {"value": term[1], "boost": statistics.boost(term)}}} for term in terms if statistics.holding.get(term, 0)
    ]
    if not wanted:
        return None
    return {
        "size": min(limit, MOST_HITS),
        "_source": False,
        "track_total_hits": False,
        "query": {"bool": {"must": [{"bool": {"should": wanted}}], "filter": [of_scope(scope_key), *_conditions(criteria)]}},
        "sort": [{"_score": "desc"}, {"key": "asc"}],
    }


def read_hits(answer: Any) -> list[Scored]:
    """The found events, best first."""
    return [Scored(EventKey(hit["_id"]), float(hit["_score"])) for hit in hits(answer)]


def read_rarities(asked: Sequence[str], analysed: Sequence[Analysed], statistics: Statistics) -> dict[str, float]:
    """How rare each of *asked* is; by its rarest stem, in the text or the lead; a stop word has rarity 0."""
    found = {}
    for word, one in zip(asked, analysed, strict=True):
        counts = [max(statistics.holding.get(("stemmed", stem), 0), statistics.holding.get(("lead", stem), 0)) for stem in one.stems]
        found[word] = rarity(min(counts), statistics.events) if counts and statistics.events else 0.0
    return found


def of_scope(scope_key: str) -> dict[str, Any]:
    """The condition that every question has."""
    return {"term": {"scope": scope_key}}


def hits(answer: Any) -> list[Any]:
    """The hits of an answer.

    Raises:
        Unavailable: the answer is cut short.
    """
    return list(_at(_whole(answer), "hits", "hits", default=[]))


def total(answer: Any) -> int:
    """How many documents an answer is about.

    Raises:
        Unavailable: the answer is cut short.
    """
    return int(_at(_whole(answer), "hits", "total", "value", default=0))


def shards_asked(answer: Any) -> int:
    """How many shards took part; none if there is no such index and it was allowed to be missing."""
    return int(_at(answer, "_shards", "total", default=0))


def _whole(answer: Any) -> Any:
    if not isinstance(answer, dict) or answer.get("timed_out") or _at(answer, "_shards", "failed", default=0):
        raise Unavailable("OpenSearch's answer is cut short", dependency="lexical", retry_after=1.0)
    return answer


def _conditions(criteria: Criteria) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"terms": {"tags": list(group)}} for group in criteria.any_of]
    if criteria.since_us is not None or criteria.until_us is not None:
        bounds = {"gte": criteria.since_us, "lt": criteria.until_us}
        found.append({"range": {"at": {name: value for name, value in bounds.items() if value is not None}}})
    return found


def _by_start(tokens: Sequence[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for token in tokens:
        found.setdefault(int(token["start_offset"]), []).append(str(token["token"]))
    return found


def _units(text: str) -> int:
    """The length of *text* as Java counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def _at(value: Any, *path: str, default: Any) -> Any:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return default
        value = value[name]
    return value
