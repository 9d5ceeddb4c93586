"""Writing one memory's index anew, without anything that is not held any more.

Belongs here: copying documents from one index into a fresh one. Does not belong here: when, and how it takes the place of the old one
(``lexicon``). A newcomer would get wrong: the engine cannot be told to rewrite a segment, and what was deleted stays in its files until it
merges by itself, which for a large segment is never; so each document keeps its own words, sorted, in a stored field, from which the same
document is made again. Nothing is analysed twice: the fresh index takes the words as they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kalends.adapters.embedded import files

SOURCE = "source"
"""The stored field; it says no more than the postings do."""

_BETWEEN = "\x1f"


def source_of(fields: Mapping[str, Sequence[str]]) -> bytes:
    """The words of each field as they are kept, in the fields' order; sorted, so that nobody can read the text from them."""
    return _BETWEEN.join(" ".join(sorted(words)) for words in fields.values()).encode()


def words_in(source: bytes) -> list[str]:
    """For each field its words, with blanks between them."""
    return source.decode().split(_BETWEEN)


def is_clean(folder: Path) -> bool:
    """Whether the index in *folder* has no document that was deleted, and no file of a segment that is not in its list."""
    listed = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["segments"]
    if any(segment.get("deletes") for segment in listed):
        return False
    known = {segment["segment_id"].replace("-", "") for segment in listed}
    return all(path.stem.partition(".")[0] in known for path in folder.iterdir() if path.is_file() and _is_of_segment(path))


def _is_of_segment(path: Path) -> bool:
    name = path.name.partition(".")[0]
    return len(name) == 32 and all(letter in "0123456789abcdef" for letter in name)


class Copy:
    """A fresh index in the making; every call blocks. Documents are added in pieces, and what changed meanwhile at the end."""

    def __init__(self, folder: Path, *, schema: Any, fields: Iterable[str], tokenizers: Iterable[str], writer_bytes: int) -> None:
        from tantivy import Index, TextAnalyzerBuilder, Tokenizer

        folder.mkdir(parents=True)
        files.sync_folder(folder.parent)
        self.folder = folder
        self._fields = tuple(fields)
        self._index = Index(schema, path=str(folder))
        for name in tokenizers:
            self._index.register_tokenizer(name, TextAnalyzerBuilder(Tokenizer.whitespace()).build())
        self._writer = self._index.writer(writer_bytes, 1)

    def add(self, searcher: Any, addresses: Sequence[Any]) -> None:
        """Add the documents at *addresses* of another index as they are there."""
        columns = [searcher.fast_field_values(name, addresses) for name in ("high", "low", "version", "dead", "at")]
        for address, high, low, version, dead, at in zip(addresses, *columns, strict=True):
            self._writer.add_document(self._again(searcher.doc(address), high=high, low=low, version=version, dead=dead, at=at))

    def drop(self, keys: Iterable[str]) -> None:
        """Take out the documents of *keys* that were added."""
        for key in keys:
            self._writer.delete_documents_by_term("key", key)

    def finish(self) -> None:
        """Make it durable and give it free; it can be opened then."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        files.sync_folder(self.folder)

    def _again(self, stored: Any, *, high: int, low: int, version: int, dead: bool, at: Any) -> Any:
        from tantivy import Document

        document = Document()
        document.add_text("key", f"{high:016x}{low:016x}")
        document.add_unsigned("high", high)
        document.add_unsigned("low", low)
        document.add_unsigned("version", version)
        document.add_boolean("dead", dead)
        if dead:
            return document
        document.add_integer("at", at)
        source = bytes(stored.get_first(SOURCE))
        tags, *words = words_in(source)
        for tag in tags.split():
            document.add_text("tags", tag)
        for field, text in zip(self._fields, words, strict=True):
            if text or field != "cjk":
                document.add_text(field, text)
        document.add_bytes(SOURCE, source)
        return document
