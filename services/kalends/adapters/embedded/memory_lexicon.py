"""The BM25 index of one memory, on tantivy; every call blocks.

Belongs here: schema, writes and queries of one tantivy index. Does not belong here: which memories are open, or threads (``lexicon``),
how text becomes words (``words``), and how an index is written anew (``lexicon_rewriting``). What a newcomer would get wrong: the text
itself is never stored, and not even the key is (two number columns hold it), but each event's words are, sorted; the query parser is never
used, so no punctuation has a meaning; and tantivy renames its list of segments last without syncing the folder, so this module does.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kalends.adapters.embedded import files, lexicon_rewriting, words
from kalends.adapters.embedded.failures import translated
from kalends.domain import versions
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Entry, Held, Scored, Tombstone
from kalends.domain.terms import content_words, grams, normalised, rarity

BOOSTS: Mapping[str, float] = {"stemmed": 1.0, "lead": 3.0, "exact": 0.05, "cjk": 1.0}
"""What a word counts in each field. The unstemmed field only decides between events that are equal otherwise: more of it lowered recall on
every public data set (docs/decisions)."""

ANALYSERS: Mapping[str, str] = {"stemmed": "stemmed", "lead": "stemmed", "exact": "exact", "cjk": "cjk"}
"""Which analyser reads each field."""

WRITER_BYTES = 20_000_000
COPY_BYTES = 60_000_000
"""What a writer may hold that writes an index anew: the larger, the fewer segments it makes."""
COPIED_AT_ONCE = 200
"""Documents copied between two other writes; about 10 ms."""
MOST_FETCHED = 8192
"""Documents of one search at most; ties beyond are cut wherever the engine cuts them."""

_MORE = 16
"""So many times more are fetched when the last place is tied: ties are a few or thousands."""

_LOW_BITS = (1 << 64) - 1
_HIGH_KEYS = 1 << 64
SHARE = 1000
"""About so many documents are read at once when all are."""


class MemoryLexicon:
    """One memory's index; a tombstone is a document without words: no search can reach it.

    Reading is safe from several threads; writing and ``release`` belong to one.
    """

    def __init__(self, folder: Path, analysers: Mapping[str, Any]) -> None:
        self._folder = folder
        self._analysers = analysers
        self._index = _open(folder, analysers)
        self._schema = self._index.schema
        self._writer: Any = None
        self._changed: set[EventKey] | None = None

    def put(self, changes: Sequence[Entry | Tombstone]) -> None:
        """Write what is newer than what is held, in one commit; on return it is synced and every search sees it."""
        wanted = versions.newest(changes)
        with translated("lexical"):
            held = self._versions(list(wanted))
            fresh = [change for key, change in wanted.items() if held.get(key, -1) < change.version]
            if not fresh:
                return
            writer = self._writing()
            try:
                for change in fresh:
                    if change.key in held:
                        writer.delete_documents_by_term("key", str(change.key))
                    writer.add_document(self._document(change))
                writer.commit()
            except BaseException:
                # what it holds is unknown; without a reference it gives the lock free, and the error that goes on has this frame
                writer = self._writer = None
                raise
            self._note(change.key for change in fresh)
            files.sync_folder(self._folder)
            self._index.reload()

    def remove(self, held: Sequence[Held]) -> int:
        """Take out what is held exactly so, in one commit; how many that was."""
        with translated("lexical"):
            there = set(self.held([one.key for one in held]))
            doomed = [one for one in held if one in there]
            if not doomed:
                return 0
            writer = self._writing()
            try:
                for one in doomed:
                    writer.delete_documents_by_term("key", str(one.key))
                writer.commit()
            except BaseException:
                writer = self._writer = None
                raise
            self._note(one.key for one in doomed)
            files.sync_folder(self._folder)
            self._index.reload()
            return len(doomed)

    def compact(self) -> int:
        """Let the engine merge what it thinks worth it and delete the files that nothing needs any more; the bytes that this freed.

        A writer that was open goes on merging behind it, for waiting would hold up the next write.
        """
        before, was_open = files.bytes_on_disk(self._folder), self._writer is not None
        with translated("lexical"):
            writer = self._writing()
            try:
                writer.commit()
                writer.garbage_collect_files()
            except BaseException:
                writer = self._writer = None
                raise
            files.sync_folder(self._folder)
            if not was_open:
                self.release()
            self._index.reload()
        return max(0, before - files.bytes_on_disk(self._folder))

    def is_clean(self) -> bool:
        """Whether no file holds anything that is not held any more."""
        with translated("lexical"):
            return lexicon_rewriting.is_clean(self._folder)

    def begin_copy(self, folder: Path) -> tuple[lexicon_rewriting.Copy, list[tuple[Any, list[Any]]]]:
        """A fresh index in *folder*, and what is to be added to it, in pieces; what changes from now on is noted for ``end_copy``."""
        from tantivy import Query

        with translated("lexical"):
            copy = lexicon_rewriting.Copy(folder, schema=_schema(), fields=BOOSTS, tokenizers=self._analysers, writer_bytes=COPY_BYTES)
            self._changed = set()
            searcher = self._index.searcher()
            hits = searcher.search(Query.all_query(), limit=max(1, searcher.num_docs), count=False).hits
            addresses = [address for _, address in hits]
        pieces = [addresses[start : start + COPIED_AT_ONCE] for start in range(0, len(addresses), COPIED_AT_ONCE)]
        return copy, [(searcher, piece) for piece in pieces]

    def end_copy(self, copy: lexicon_rewriting.Copy) -> None:
        """Bring *copy* up to date with what changed since it was begun, and make it durable; nothing may be written here any more."""
        from tantivy import Query

        changed, self._changed = sorted(self._changed or ()), None
        with translated("lexical"):
            searcher = self._index.searcher()
            copy.drop(map(str, changed))
            for start in range(0, len(changed), COPIED_AT_ONCE):
                wanted = Query.term_set_query(self._schema, "key", [str(key) for key in changed[start : start + COPIED_AT_ONCE]])
                copy.add(searcher, [address for _, address in searcher.search(wanted, limit=2 * COPIED_AT_ONCE, count=False).hits])
            copy.finish()

    def give_up_copy(self) -> None:
        """Note no more changes."""
        self._changed = None

    def release(self) -> None:
        """Finish merges and give the writer's memory and lock free; the index stays readable."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with translated("lexical"):
                writer.wait_merging_threads()

    def _note(self, keys: Iterable[EventKey]) -> None:
        if self._changed is not None:
            self._changed.update(keys)

    def _writing(self) -> Any:
        if self._writer is None:
            with translated("lexical, opening"):
                _clear_unfinished(self._folder)
                self._writer = self._index.writer(WRITER_BYTES, 1)
        return self._writer

    def _versions(self, keys: Sequence[EventKey]) -> dict[EventKey, int]:
        from tantivy import Query

        searcher = self._index.searcher()
        wanted = Query.term_set_query(self._schema, "key", [str(key) for key in keys])
        found = searcher.search(wanted, limit=2 * len(keys), count=False).hits
        addresses = [address for _, address in found]
        return dict(zip(_keys(searcher, addresses), searcher.fast_field_values("version", addresses), strict=True))

    def _document(self, change: Entry | Tombstone) -> Any:
        from tantivy import Document

        document, number = Document(), int(change.key, 16)
        document.add_text("key", str(change.key))
        document.add_unsigned("high", number >> 64)
        document.add_unsigned("low", number & _LOW_BITS)
        document.add_unsigned("version", change.version)
        document.add_boolean("dead", isinstance(change, Tombstone))
        if isinstance(change, Tombstone):
            return document
        document.add_integer("at", change.occurred_us)
        for tag in change.tags:
            document.add_text("tags", tag)
        text = normalised(change.text)
        texts = {"stemmed": text, "lead": normalised(change.lead), "exact": text, "cjk": " ".join(grams(text, question=False))}
        for field, content in texts.items():
            if content or field != "cjk":
                document.add_text(field, content)
        analysed = {field: self._analysers[ANALYSERS[field]].analyze(content) for field, content in texts.items()}
        document.add_bytes(lexicon_rewriting.SOURCE, lexicon_rewriting.source_of({"tags": change.tags, **analysed}))
        return document

    def search(self, text: str, criteria: Criteria, limit: int) -> list[Scored]:
        """The best *limit* events by BM25, ties by key."""
        with translated("lexical"):
            query = self._query(normalised(text), criteria)
            if query is None:
                return []
            searcher, fetched = self._index.searcher(), limit + 16
            while True:
                hits = searcher.search(query, limit=fetched, count=False).hits
                complete = len(hits) < fetched or fetched >= MOST_FETCHED
                # a tie with the last place may continue beyond what was fetched, and its order must not be left to the engine
                if complete or hits[-1][0] < hits[limit - 1][0]:
                    return _best(searcher, hits, limit)
                fetched = min(fetched * _MORE, MOST_FETCHED)

    def _query(self, text: str, criteria: Criteria) -> Any:
        """Words that may occur, and conditions that must hold but count nothing; None for a text without words."""
        from tantivy import FieldType, Occur, Query

        plain = " ".join(content_words(text))
        texts = {"stemmed": plain, "lead": plain, "exact": plain, "cjk": " ".join(grams(text, question=True))}
        wanted = []
        for field, boost in BOOSTS.items():
            for term in words.terms(self._analysers[ANALYSERS[field]], texts[field]) if boost else ():
                found = Query.term_query(self._schema, field, term, "freq")
                wanted.append((Occur.Should, Query.boost_query(found, boost)))
        if not wanted:
            return None
        conditions = [Query.term_set_query(self._schema, "tags", list(group)) for group in criteria.any_of]
        if criteria.since_us is not None or criteria.until_us is not None:
            bounds = (criteria.since_us, criteria.until_us)
            conditions.append(Query.range_query(self._schema, "at", FieldType.Integer, *bounds, include_upper=criteria.until_us is None))
        silent = [(Occur.Must, Query.const_score_query(condition, 0.0)) for condition in conditions]
        return Query.boolean_query([(Occur.Must, Query.boolean_query(wanted)), *silent])

    def rarities(self, asked: Sequence[str]) -> dict[str, float]:
        """How rare each word is here, by its stem in the text or the lead; a stop word has rarity 0."""
        with translated("lexical"):
            searcher = self._index.searcher()
            events = searcher.num_docs
            found = {}
            for word in asked:
                stems = words.terms(self._analysers["stemmed"], normalised(word))
                counts = (max(searcher.doc_freq("stemmed", stem), searcher.doc_freq("lead", stem)) for stem in stems)
                holding = min(counts, default=events)
                found[word] = rarity(min(holding, events), events) if stems else 0.0
        return found

    def pairs(self) -> list[tuple[EventKey, int, bool]]:
        """Key, version and "is a tombstone" of everything held."""
        from tantivy import Query

        with translated("lexical"):
            searcher = self._index.searcher()
            hits = searcher.search(Query.all_query(), limit=max(1, searcher.num_docs), count=False).hits
            addresses = [address for _, address in hits]
            versions, dead = (searcher.fast_field_values(name, addresses) for name in ("version", "dead"))
            return list(zip(_keys(searcher, addresses), versions, dead, strict=True))

    def inventory(self, after: EventKey | None, limit: int) -> list[Held]:
        """What is held, by key, after the given one.

        The engine orders by the upper half of the key; keys that share theirs are put in order here, and none is cut off from another.
        """
        from tantivy import FieldType, Order, Query

        start = int(after, 16) >> 64 if after else 0
        query = Query.range_query(self._schema, "high", FieldType.Unsigned, start, None)
        fetched = limit + 2
        with translated("lexical"):
            searcher = self._index.searcher()
            while True:
                hits = searcher.search(query, limit=fetched, count=False, order_by_field="high", order=Order.Asc).hits
                found = sorted(_held(searcher, [address for _, address in hits]), key=_by_key)
                complete = len(hits) < fetched
                if not complete:
                    found = [one for one in found if one.key[:16] != found[-1].key[:16]]
                found = [one for one in found if after is None or one.key > after]
                if complete or len(found) >= limit:
                    return found[:limit]
                fetched *= 2

    def shares(self) -> int:
        """Into how many shares all possible keys are to be divided, for about ``SHARE`` documents in each."""
        with translated("lexical"):
            return -(-int(self._index.searcher().num_docs) // SHARE)

    def share(self, number: int, of: int) -> list[Held]:
        """What is held in one of *of* equal shares of all possible keys, in no order, which the engine need not make then."""
        from tantivy import FieldType, Query

        first, beyond = (_HIGH_KEYS * place // of for place in (number, number + 1))
        query = Query.range_query(self._schema, "high", FieldType.Unsigned, first, beyond - 1)
        fetched = 2 * SHARE
        with translated("lexical"):
            searcher = self._index.searcher()
            while True:
                hits = searcher.search(query, limit=fetched, count=False).hits
                if len(hits) < fetched:
                    return _held(searcher, [address for _, address in hits])
                fetched *= 2

    def held(self, keys: Sequence[EventKey]) -> list[Held]:
        """What is held of *keys*."""
        from tantivy import Query

        with translated("lexical"):
            searcher = self._index.searcher()
            wanted = Query.term_set_query(self._schema, "key", [str(key) for key in keys])
            hits = searcher.search(wanted, limit=2 * len(keys) + 1, count=False).hits
            return _held(searcher, [address for _, address in hits])

    def is_empty(self) -> bool:
        """Whether nothing is held, no tombstone either."""
        with translated("lexical"):
            return int(self._index.searcher().num_docs) == 0

    def count(self) -> int:
        """Live events."""
        from tantivy import Query

        with translated("lexical"):
            live = Query.term_query(self._schema, "dead", False)
            return int(self._index.searcher().search(live, limit=1, count=True).count)


def _best(searcher: Any, hits: Sequence[tuple[float, Any]], limit: int) -> list[Scored]:
    """The first *limit* of *hits*, which come by falling score, ties by key; of thousands that tie, only those are made keys of."""
    if not hits:
        return []
    scores = np.array([score for score, _ in hits], dtype=np.float64)
    if len(scores) > limit:
        scores = scores[scores >= scores[limit - 1]]
    addresses = [address for _, address in hits[: len(scores)]]
    high, low = (np.array(searcher.fast_field_values(name, addresses), dtype=np.uint64) for name in ("high", "low"))
    order = np.lexsort((low, high, -scores))[:limit]
    return [Scored(_key(int(high[place]), int(low[place])), float(scores[place])) for place in order]


def _keys(searcher: Any, addresses: Sequence[Any]) -> list[EventKey]:
    high, low = (searcher.fast_field_values(name, addresses) for name in ("high", "low"))
    return [_key(first, second) for first, second in zip(high, low, strict=True)]


def _held(searcher: Any, addresses: Sequence[Any]) -> list[Held]:
    versions, dead = (searcher.fast_field_values(name, addresses) for name in ("version", "dead"))
    return [
        Held(key=key, version=version, live=not gone) for key, version, gone in zip(_keys(searcher, addresses), versions, dead, strict=True)
    ]


def _by_key(one: Held) -> str:
    return one.key


def _key(high: int, low: int) -> EventKey:
    return EventKey(f"{high:016x}{low:016x}")


def _clear_unfinished(folder: Path) -> None:
    """Take away what a kill within a commit, or one that failed, left of it: lists of deletions that are newer than the last commit.

    Their names say segment and number of the commit, so the next try of the same commit would make the same name, which the engine refuses;
    and it never takes them away itself, for that it does after a commit.
    """
    committed = int(json.loads((folder / "meta.json").read_bytes())["opstamp"])
    for path in folder.glob("*.del"):
        if int(path.stem.rpartition(".")[2]) > committed:
            path.unlink()


def _open(folder: Path, analysers: Mapping[str, Any]) -> Any:
    from tantivy import Index

    with translated("lexical, opening"):
        if not folder.exists():
            folder.mkdir(parents=True)
            files.sync_folder(folder.parent)
        # a folder without a list of segments is one whose making was cut short, before anything was written
        index = Index.open(str(folder)) if (folder / "meta.json").exists() else Index(_schema(), path=str(folder))
        for name, analyser in analysers.items():
            index.register_tokenizer(name, analyser)
        index.config_reader("manual")
        index.reload()
        return index


def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    for name in ("key", "tags"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("high", "low", "version"):
        builder.add_unsigned_field(name, fast=True)
    builder.add_integer_field("at", indexed=True, fast=True)
    builder.add_boolean_field("dead", indexed=True, fast=True)
    for name in BOOSTS:
        builder.add_text_field(name, tokenizer_name=ANALYSERS[name], index_option="freq")
    builder.add_bytes_field(lexicon_rewriting.SOURCE, stored=True)
    return builder.build()
