"""What an index looks like: settings, analysers and fields.

Belongs here: everything that ``make`` sends. Does not belong here: questions (``questions``). A newcomer would get wrong: every change here
needs a new ``FORMAT`` and a rebuild, because words that were indexed otherwise would silently not be found; and a tombstone is a document
without words, never a delete, because OpenSearch forgets the version of what was deleted after ``index.gc_deletes``.
"""

from collections.abc import Mapping
from typing import Any, Final

from kalends.adapters.opensearch.scoring import SIMILARITY

FORMAT: Final = "opensearch1"
LONGEST_WORD: Final = 128

WORD_FIELDS: Final = {"stemmed": "stemmed", "lead": "stemmed", "exact": "exact", "cjk": "cjk"}
"""Which analyser reads each field of words."""

PATHS: Final[Mapping[str, str]] = {"stemmed": "stemmed", "lead": "lead", "exact": "stemmed.exact", "cjk": "cjk"}
"""Where each of them stands; the unstemmed words are read from the same text as the stemmed ones."""

LENGTHS: Final[Mapping[str, str]] = {"stemmed": "stemmed.length", "lead": "lead.length", "exact": "stemmed.size", "cjk": "cjk.length"}
"""Where the number of words of each is counted."""

_SIMILARITY_NAME = "of_one_memory"


def index_body(*, shards: int, replicas: int, aliases: Mapping[str, Any]) -> dict[str, Any]:
    """What makes an index."""
    return {"settings": _settings(shards=shards, replicas=replicas), "mappings": _mapping(), "aliases": dict(aliases)}


def format_of(mappings: Any) -> str:
    """The format that an index says it has; empty if it is none of ours."""
    meta = mappings.get("_meta") if isinstance(mappings, dict) else None
    return str(meta.get("format", "")) if isinstance(meta, dict) else ""


def _settings(*, shards: int, replicas: int) -> dict[str, Any]:
    plain = ["short", "lowercase", "asciifolding"]
    return {
        "index": {
            "number_of_shards": shards,
            "number_of_replicas": replicas,
            # what was acknowledged is on the disk of every copy
            "translog.durability": "request",
            # only ``remove`` deletes, and after it nothing shall be remembered
            "gc_deletes": "0s",
            "refresh_interval": "1s",
            "similarity": {_SIMILARITY_NAME: SIMILARITY},
            "analysis": {
                # words are what tantivy's simple tokenizer calls so
                "tokenizer": {"alphanumeric": {"type": "pattern", "pattern": r"[^\p{IsAlphabetic}\p{N}]+"}},
                "filter": {
                    "short": {"type": "length", "max": LONGEST_WORD},
                    "english_stop": {"type": "stop", "stopwords": "_english_"},
                    # what OpenSearch calls "english" is the first Porter stemmer, and tantivy's is the second
                    "english": {"type": "stemmer", "language": "porter2"},
                },
                "analyzer": {
                    "stemmed": {"type": "custom", "tokenizer": "alphanumeric", "filter": [*plain, "english_stop", "english"]},
                    "exact": {"type": "custom", "tokenizer": "alphanumeric", "filter": plain},
                    "cjk": {"type": "custom", "tokenizer": "whitespace", "filter": []},
                },
            },
        }
    }


def _mapping() -> dict[str, Any]:
    return {
        "dynamic": "strict",
        "_meta": {"format": FORMAT},
        "_routing": {"required": True},
        "_source": {"includes": ["scope", "dead"]},
        "properties": {
            "scope": {"type": "keyword"},
            "key": {"type": "keyword"},
            "version": {"type": "long", "index": False},
            "dead": {"type": "boolean"},
            "at": {"type": "long"},
            "tags": {"type": "keyword", "doc_values": False},
            "stemmed": _words("stemmed", {"exact": _words("exact", {}), "length": _length("stemmed"), "size": _length("exact")}),
            "lead": _words("stemmed", {"length": _length("stemmed")}),
            "cjk": _words("cjk", {"length": _length("cjk")}),
        },
    }


def _words(analyser: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    found = {"type": "text", "analyzer": analyser, "similarity": _SIMILARITY_NAME, "index_options": "freqs"}
    return {**found, "fields": dict(fields)} if fields else found


def _length(analyser: str) -> dict[str, Any]:
    return {"type": "token_count", "analyzer": analyser, "enable_position_increments": False, "index": False}
