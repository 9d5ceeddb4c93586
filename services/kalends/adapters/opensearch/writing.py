"""Bulk writes: pieces of bounded size, the verdict on each item, and patience with a node that has too much to do.

Belongs here: everything between a list of changes and what became of each. Does not belong here: which index is written (``lexicon``). A
newcomer would get wrong: the status of a bulk says nothing about its items; an item that is refused because something newer is held
(409) is a success; and a full disk also answers 429, but waiting for that is not for this module.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from opensearchpy.exceptions import TransportError

from kalends.adapters.opensearch import failures
from kalends.adapters.opensearch.client import OpenSearchClient
from kalends.domain.errors import Invalid, KalendsError, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Entry, Tombstone
from kalends.domain.terms import grams, normalised
from kalends.kit.backoff import pauses

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

CONFLICT = 409
MISSING = 404

_DONE = frozenset({200, 201, CONFLICT})
_BUSY = 429
_REFUSED = 400
_TOO_LARGE = 413

_UNREADABLE = frozenset({"mapper_parsing_exception", "document_parsing_exception"})
_ILLEGAL = "illegal_argument_exception"
_TERM_TOO_LONG = "max_bytes_length_exceeded_exception"
_UNKNOWN_FIELD = "strict_dynamic_mapping_exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One line or two of a bulk request, and what it is about."""

    key: EventKey
    scope_key: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an operation: the status of its item, and the server's name of the error and of its first cause, if it was one."""

    operation: Operation
    status: int
    error: str
    cause: str = ""


def indexing(change: Entry | Tombstone, *, alias: str) -> Operation:
    """Writes *change* through *alias* unless something as new or newer is held."""
    scope_key = change.scope.key
    about = {"_index": alias, "_id": change.key, "routing": scope_key, "version": change.version, "version_type": "external"}
    head = msgspec.json.encode({"index": {**about, "require_alias": True}})
    return Operation(key=change.key, scope_key=scope_key, content=head + b"\n" + msgspec.json.encode(document(change)) + b"\n")


def deleting(key: EventKey, *, scope_key: str, alias: str, seq_no: int, primary_term: int) -> Operation:
    """Takes *key* out if nothing was written over it since it was read."""
    about = {"_index": alias, "_id": key, "routing": scope_key, "if_seq_no": seq_no, "if_primary_term": primary_term}
    return Operation(key=key, scope_key=scope_key, content=msgspec.json.encode({"delete": {**about, "require_alias": True}}) + b"\n")


def document(change: Entry | Tombstone) -> dict[str, Any]:
    """What is sent of *change*; the words are indexed and not stored."""
    known = {"scope": change.scope.key, "key": change.key, "version": change.version}
    if isinstance(change, Tombstone):
        return {**known, "dead": True}
    text = normalised(change.text)
    found = {**known, "dead": False, "at": change.occurred_us, "tags": list(change.tags), "stemmed": text}
    if change.lead:
        found["lead"] = normalised(change.lead)
    unspaced = grams(text, question=False)
    if unspaced:
        found["cjk"] = " ".join(unspaced)
    return found


async def write(client: OpenSearchClient, operations: Sequence[Operation], *, deadline_s: float, again: bool = True) -> list[Outcome]:
    """Send *operations*, those that found OpenSearch too busy until it takes them; what became of each.

    Raises:
        Unavailable: OpenSearch stays too busy, or away. DeadlineExceeded: no answer in time.
    """
    outcomes: list[Outcome] = []
    until = asyncio.get_running_loop().time() + deadline_s
    limit = client.settings.bulk_bytes
    waits = pauses(first=FIRST_PAUSE_S, longest=LONGEST_PAUSE_S)
    left = list(operations)
    while left:
        piece = next(pieces(left, limit=limit))
        remaining = until - asyncio.get_running_loop().time()
        busy, found = await _sent(client, piece, deadline_s=max(FIRST_PAUSE_S, remaining), again=again)
        outcomes += found
        left = [*busy, *left[len(piece) :]]
        if busy:
            limit = max(1, min(limit, sum(len(one.content) for one in piece)) // 2)
            pause = next(waits)
            if asyncio.get_running_loop().time() + pause >= until:
                raise failures.refusal(_BUSY)
            await asyncio.sleep(pause)
    return outcomes


def pieces(operations: Sequence[Operation], *, limit: int) -> Iterator[list[Operation]]:
    """*operations* in order, in pieces of at most *limit* bytes, or of one."""
    piece: list[Operation] = []
    size = 0
    for operation in operations:
        if piece and size + len(operation.content) > limit:
            yield piece
            piece, size = [], 0
        piece.append(operation)
        size += len(operation.content)
    if piece:
        yield piece


def verdict(outcomes: Sequence[Outcome]) -> KalendsError | None:
    """The error that *outcomes* stand for, if any of them is one: what a retry helps goes before what it does not."""
    failed = [outcome for outcome in outcomes if outcome.status not in _DONE]
    if not failed:
        return None
    found = [_error(outcome) for outcome in failed]
    worst = next((error for error in found if isinstance(error, Unavailable)), found[0])
    worst.detail = f"{len(failed)} of {len(outcomes)} writes failed: {worst.detail}"
    worst.args = (worst.detail,)
    return worst


def is_missing(outcome: Outcome) -> bool:
    """Whether there was no index behind the alias."""
    return outcome.status == MISSING and outcome.error == "index_not_found_exception"


async def _sent(
    client: OpenSearchClient, piece: Sequence[Operation], *, deadline_s: float, again: bool
) -> tuple[list[Operation], list[Outcome]]:
    """Those of *piece* that OpenSearch was too busy for, and what became of the others."""
    body = b"".join(operation.content for operation in piece)
    try:
        answer = await client.exchange("POST", "/_bulk", body=body, deadline_s=deadline_s, again=again)
    except TransportError as error:
        too_busy = error.status_code == _BUSY and failures.name_of(error) != failures.BLOCKED
        if too_busy or (error.status_code == _TOO_LARGE and len(piece) > 1):
            return list(piece), []
        raise failures.translate(error) from error
    except tuple(failures.OPENSEARCH_ERRORS) as error:
        raise failures.translate(error) from error
    items = answer.get("items", []) if isinstance(answer, dict) else []
    if len(items) != len(piece):
        raise Unavailable("OpenSearch's answer to a bulk is cut short", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)
    outcomes = [_outcome(operation, item) for operation, item in zip(piece, items, strict=True)]
    busy = [outcome.operation for outcome in outcomes if outcome.status == _BUSY and outcome.error != failures.BLOCKED]
    return busy, [outcome for outcome in outcomes if outcome.status != _BUSY or outcome.error == failures.BLOCKED]


def _outcome(operation: Operation, item: Mapping[str, Any]) -> Outcome:
    (told,) = item.values()
    error = told.get("error")
    names = list(_names(error))
    return Outcome(
        operation=operation, status=int(told.get("status", 500)), error=names[0] if names else "", cause=names[-1] if names[1:] else ""
    )


def _names(error: Any) -> Iterator[str]:
    """What the server calls an error, what caused that, and so on."""
    while isinstance(error, dict):
        yield str(error.get("type", ""))
        error = error.get("caused_by")


def _is_about_the_document(outcome: Outcome) -> bool:
    """Whether another document would not have been refused.

    A field that the index does not know was made up by a newer version than the one that made the index, and an alias that names two
    indexes takes nothing at all: then every document is refused, and none may be given up for it.
    """
    if outcome.error == _ILLEGAL:
        return outcome.cause == _TERM_TOO_LONG
    return outcome.error in _UNREADABLE and outcome.cause != _UNKNOWN_FIELD


def _error(outcome: Outcome) -> KalendsError:
    if outcome.status == MISSING:
        return Unavailable("there is no such index", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)
    if outcome.status == _REFUSED and _is_about_the_document(outcome):
        return Invalid(f"OpenSearch refuses a document: {outcome.error}", dependency=failures.DEPENDENCY)
    if outcome.status == _REFUSED:
        detail = f"OpenSearch's index does not take what this version writes: {outcome.error}"
        return Unavailable(detail, dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)
    return failures.refusal(outcome.status, outcome.error)
