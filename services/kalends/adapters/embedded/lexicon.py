"""BM25 in this process, on tantivy.

Belongs here: schema, writes and queries of a tantivy index. Does not belong here: how text becomes words (``words``). What a newcomer
would get wrong: the text itself is never stored, and not even the key is (two number columns hold it); the query parser is never used, so
no punctuation has a meaning; and tantivy renames its list of segments last without syncing the folder, so this module does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kalends.adapters.embedded import files, words, writes
from kalends.adapters.embedded.failures import translated
from kalends.adapters.embedded.threads import Lane
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Scored, Tombstone
from kalends.domain.scope import Scope
from kalends.domain.terms import content_words, rarity

FORMAT = "tantivy2"
"""Grows with every change of the schema or of ``words``."""

BOOSTS: Mapping[str, float] = {"stemmed": 1.0, "lead": 3.0, "exact": 0.0, "cjk": 1.0}
"""What a word counts in each field; a field that counts nothing is not asked."""

ANALYSERS: Mapping[str, str] = {"stemmed": "stemmed", "lead": "stemmed", "exact": "exact", "cjk": "cjk"}
"""Which analyser reads each field."""

WRITER_BYTES = 20_000_000
READERS = 2
MOST_FETCHED = 8192
"""Documents of one search at most; ties beyond are cut wherever the engine cuts them."""

_LOW_BITS = (1 << 64) - 1


class TantivyLexicon:
    """One generation of the lexical projection; see ``ports.lexicon.LexicalIndex``.

    A tombstone is a document without scope or words: no search can reach it.
    """

    def __init__(self, index: Any, writer: Any, *, folder: Path) -> None:
        self._index = index
        self._schema = index.schema
        self._writer = writer
        self._folder = folder
        self._analysers = words.analysers()
        self._write_lane = Lane("lexicon-write")
        self._read_lane = Lane("lexicon-read", threads=READERS)

    @classmethod
    async def open(cls, folder: Path) -> "TantivyLexicon":
        """Open the index in *folder*, or make it.

        Raises:
            Misconfigured: it has another format. Damaged: it cannot be read; drop it and rebuild. Occupied: it is open already.
        """
        opener = Lane("lexicon-open")
        try:
            index, writer = await opener.run(_open, folder)
        finally:
            await opener.close()
        return cls(index, writer, folder=folder / "index")

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Write what is newer than what is held, in one commit; on return it is synced and every search sees it."""
        changes: list[Entry | Tombstone] = [*entries, *tombstones]
        if changes:
            await self._write_lane.run(self._put, changes)

    async def search(self, scope: Scope, text: str, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* best events by BM25 over three fields, each weighted by ``BOOSTS``."""
        if limit <= 0:
            return []
        return await self._read_lane.run(self._search, scope, text, criteria, limit)

    async def rarities(self, asked: Sequence[str]) -> Mapping[str, float]:
        """How rare each word is among all events, by its stem; a word that is never looked for (a stop word) has rarity 0."""
        return await self._read_lane.run(self._rarities, asked)

    async def digest(self) -> Digest:
        """What is held, from the number columns of every document."""
        return await self._read_lane.run(self._digest)

    async def count(self, scope: Scope) -> int:
        """Live events of one memory."""
        return await self._read_lane.run(self._count, scope)

    async def close(self) -> None:
        """Finish merges and give the folder free; once is enough, twice is no error."""
        if self._write_lane.closed:
            return
        try:
            await self._write_lane.run(self._close)
        finally:
            await self._write_lane.close()
            await self._read_lane.close()

    def _put(self, changes: Sequence[Entry | Tombstone]) -> None:
        wanted = writes.newest(changes)
        with translated("lexical"):
            held = self._versions(list(wanted))
            fresh = [change for key, change in wanted.items() if held.get(key, -1) < change.version]
            if not fresh:
                return
            try:
                for change in fresh:
                    self._writer.delete_documents_by_term("key", str(change.key))
                    self._writer.add_document(self._document(change))
                self._writer.commit()
            except BaseException:
                self._writer.rollback()
                raise
            files.sync_folder(self._folder)
            self._index.reload()

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
        document.add_text("scope", change.scope.key)
        document.add_integer("at", change.occurred_us)
        for tag in change.tags:
            document.add_text("tags", tag)
        text = words.normalised(change.text)
        document.add_text("stemmed", text)
        document.add_text("lead", words.normalised(change.lead))
        document.add_text("exact", text)
        grams = words.spaced_out(text, question=False)
        if grams:
            document.add_text("cjk", grams)
        return document

    def _search(self, scope: Scope, text: str, criteria: Criteria, limit: int) -> list[Scored]:
        with translated("lexical"):
            query = self._query(scope, words.normalised(text), criteria)
            if query is None:
                return []
            searcher, fetched = self._index.searcher(), limit + 16
            while True:
                hits = searcher.search(query, limit=fetched, count=False).hits
                keys = _keys(searcher, [address for _, address in hits])
                found = [Scored(key, score) for key, (score, _) in zip(keys, hits, strict=True)]
                ranked = sorted(found, key=lambda hit: (-hit.score, hit.key))
                complete = len(found) < fetched or fetched >= MOST_FETCHED
                # a tie with the last place may continue beyond what was fetched, and its order must not be left to the engine
                if complete or found[-1].score < ranked[limit - 1].score:
                    return ranked[:limit]
                fetched = min(fetched * 4, MOST_FETCHED)

    def _query(self, scope: Scope, text: str, criteria: Criteria) -> Any:
        """Words that may occur, and conditions that must hold but count nothing; None for a text without words."""
        from tantivy import FieldType, Occur, Query

        plain = " ".join(content_words(text))
        texts = {"stemmed": plain, "lead": plain, "exact": plain, "cjk": words.spaced_out(text, question=True)}
        wanted = []
        for field, boost in BOOSTS.items():
            for term in words.terms(self._analysers[ANALYSERS[field]], texts[field]) if boost else ():
                found = Query.term_query(self._schema, field, term, "freq")
                wanted.append((Occur.Should, Query.boost_query(found, boost)))
        if not wanted:
            return None
        conditions = [Query.term_query(self._schema, "scope", scope.key, "basic")]
        conditions += [Query.term_set_query(self._schema, "tags", list(group)) for group in criteria.any_of]
        if criteria.since_us is not None or criteria.until_us is not None:
            bounds = (criteria.since_us, criteria.until_us)
            conditions.append(Query.range_query(self._schema, "at", FieldType.Integer, *bounds, include_upper=criteria.until_us is None))
        silent = [(Occur.Must, Query.const_score_query(condition, 0.0)) for condition in conditions]
        return Query.boolean_query([(Occur.Must, Query.boolean_query(wanted)), *silent])

    def _rarities(self, asked: Sequence[str]) -> dict[str, float]:
        with translated("lexical"):
            searcher = self._index.searcher()
            events = searcher.num_docs
            found = {}
            for word in asked:
                stems = words.terms(self._analysers["stemmed"], words.normalised(word))
                holding = min((searcher.doc_freq("stemmed", stem) for stem in stems), default=events)
                found[word] = rarity(min(holding, events), events) if stems else 0.0
        return found

    def _digest(self) -> Digest:
        from tantivy import Query

        with translated("lexical"):
            searcher = self._index.searcher()
            hits = searcher.search(Query.all_query(), limit=max(1, searcher.num_docs), count=False).hits
            addresses = [address for _, address in hits]
            keys, versions = _keys(searcher, addresses), searcher.fast_field_values("version", addresses)
            dead = searcher.fast_field_values("dead", addresses)
        pairs = list(zip(keys, versions, dead, strict=True))
        return writes.fold(
            [(key, version) for key, version, gone in pairs if not gone],
            [(key, version) for key, version, gone in pairs if gone],
        )

    def _count(self, scope: Scope) -> int:
        from tantivy import Query

        with translated("lexical"):
            found = Query.term_query(self._schema, "scope", scope.key, "basic")
            return int(self._index.searcher().search(found, limit=1, count=True).count)

    def _close(self) -> None:
        with translated("lexical"):
            # it consumes the writer, and with it the lock on the folder
            self._writer.wait_merging_threads()
        self._writer = None


def _keys(searcher: Any, addresses: Sequence[Any]) -> list[EventKey]:
    high, low = (searcher.fast_field_values(name, addresses) for name in ("high", "low"))
    return [EventKey(f"{first:016x}{second:016x}") for first, second in zip(high, low, strict=True)]


def _open(folder: Path) -> tuple[Any, Any]:
    from tantivy import Index

    files.claim_identity(folder, FORMAT)
    path = folder / "index"
    path.mkdir(exist_ok=True)
    with translated("lexical, opening"):
        # a folder without a list of segments is one whose making was cut short, before anything was written
        index = Index.open(str(path)) if (path / "meta.json").exists() else Index(_schema(), path=str(path))
        for name, analyser in words.analysers().items():
            index.register_tokenizer(name, analyser)
        index.config_reader("manual")
        index.reload()
        return index, index.writer(WRITER_BYTES, 1)


def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    for name in ("key", "scope", "tags"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("high", "low", "version"):
        builder.add_unsigned_field(name, fast=True)
    builder.add_integer_field("at", indexed=True, fast=True)
    builder.add_boolean_field("dead", fast=True)
    for name in BOOSTS:
        builder.add_text_field(name, tokenizer_name=ANALYSERS[name], index_option="freq")
    return builder.build()
