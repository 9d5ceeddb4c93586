"""What an index holds, beyond searches: inventories, digests, scopes, sizes, merges, and whether it takes writes.

Belongs here: requests that go over a whole scope or a whole index. Does not belong here: questions by words (``questions``). A newcomer
would get wrong: a digest is read by a scroll in the order of the disk, because paging by key costs a pass over the shard for every page; a
page of a scroll is never asked for twice, because the second answer would be the next page.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kalends.adapters.opensearch import failures, questions
from kalends.adapters.opensearch.client import OpenSearchClient
from kalends.domain import versions
from kalends.domain.errors import KalendsError, NotFound, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Digest, Held

PAGE = 5000
SCOPES_PAGE = 2000
KEEP = "2m"
"""How long OpenSearch keeps a scroll between two pages."""

MERGE_POLL_S = 0.2
LONGEST_POLL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is held of one key, and where in its shard's history that was written."""

    held: Held
    seq_no: int
    primary_term: int


def inventory_body(scope_key: str, *, after: EventKey | None, limit: int) -> dict[str, Any]:
    """Asks for the next *limit* documents of a scope by key."""
    body = {
        "size": limit,
        "query": {"bool": {"filter": [questions.of_scope(scope_key)]}},
        "sort": [{"key": "asc"}],
        "track_total_hits": False,
        **_COLUMNS,
    }
    return body if after is None else {**body, "search_after": [after]}


def held_body(scope_key: str, keys: Sequence[EventKey]) -> dict[str, Any]:
    """Asks for what is held of *keys*."""
    return {
        "size": max(1, len(keys)),
        "query": {"bool": {"filter": [questions.of_scope(scope_key), {"terms": {"key": list(keys)}}]}},
        "_source": False,
        "docvalue_fields": ["key", "version", "dead"],
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }


def read_held(answer: Any) -> list[Held]:
    """What the hits of an answer say is held."""
    return [_held(hit) for hit in questions.hits(answer)]


def read_stored(answer: Any) -> list[Stored]:
    """What the hits of an answer say is held, and their place in history."""
    return [Stored(held=_held(hit), seq_no=int(hit["_seq_no"]), primary_term=int(hit["_primary_term"])) for hit in questions.hits(answer)]


async def existing(client: OpenSearchClient, wanted: Sequence[tuple[str, str, EventKey]]) -> set[EventKey]:
    """Which of *wanted* (index, scope's key, key) are there at this moment, be they visible to searches or not."""
    found: set[EventKey] = set()
    for start in range(0, len(wanted), PAGE):
        piece = [{"_index": index, "routing": scope_key, "_id": key} for index, scope_key, key in wanted[start : start + PAGE]]
        params = {"_source": "false"}
        answer = await client.call("POST", "/_mget", body={"docs": piece}, params=params, deadline_s=client.settings.bulk_deadline_s)
        if any("error" in told for told in answer["docs"]):
            raise Unavailable("OpenSearch cannot say what is there", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)
        found |= {EventKey(told["_id"]) for told in answer["docs"] if told.get("found")}
    return found


def sweep_body(scope_key: str | None) -> dict[str, Any]:
    """Asks for the first page of everything of a scope, or of all, in the order of the disk."""
    condition = {"match_all": {}} if scope_key is None else {"bool": {"filter": [questions.of_scope(scope_key)]}}
    return {"size": PAGE, "sort": ["_doc"], "query": condition, **_COLUMNS}


async def sweep(client: OpenSearchClient, first: Any, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
    """Hand on the page that *first* answered and those behind it, and end their scroll; *take* may wait for less than ``KEEP``.

    Raises:
        Unavailable: OpenSearch lost its place, because a node left or the index was dropped; the next sweep begins anew.
    """
    answer = first
    try:
        while page := questions.hits(answer):
            await take([_held(hit) for hit in page])
            if len(page) < PAGE:
                return
            scroll = {"scroll": KEEP, "scroll_id": answer["_scroll_id"]}
            answer = await client.call("POST", "/_search/scroll", body=scroll, deadline_s=client.settings.bulk_deadline_s, again=False)
    except NotFound as error:
        raise Unavailable("OpenSearch lost its place", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S) from error
    finally:
        # one that is not ended ends by itself; whoever waits for what was read shall not wait for that
        if "_scroll_id" in answer:
            with contextlib.suppress(KalendsError):
                ended = {"scroll_id": answer["_scroll_id"]}
                await client.call("DELETE", "/_search/scroll", body=ended, deadline_s=client.settings.search_deadline_s, again=False)


async def digest(client: OpenSearchClient, indexes: str) -> Digest:
    """The digest of everything in *indexes*, page by page; as many pages as there are are never held at once."""
    total = versions.fold_held(())

    async def add(page: Sequence[Held]) -> None:
        nonlocal total
        total = versions.joined(total, await asyncio.to_thread(versions.fold_held, page))

    first = await client.call(
        "POST",
        f"/{indexes}/_search",
        body=sweep_body(None),
        params={"scroll": KEEP, "allow_partial_search_results": "false"},
        deadline_s=client.settings.bulk_deadline_s,
        again=False,
    )
    await sweep(client, first, add)
    return total


async def scopes(client: OpenSearchClient, indexes: str) -> list[str]:
    """The keys of all scopes in *indexes*, in order."""
    found: list[str] = []
    pages: dict[str, Any] = {"size": SCOPES_PAGE, "sources": [{"scope": {"terms": {"field": "scope"}}}]}
    while True:
        answer = await client.call(
            "POST",
            f"/{indexes}/_search",
            body={"size": 0, "track_total_hits": True, "aggs": {"scopes": {"composite": pages}}},
            params={"allow_partial_search_results": "false"},
            deadline_s=client.settings.bulk_deadline_s,
        )
        questions.total(answer)
        told = answer["aggregations"]["scopes"]
        found += [bucket["key"]["scope"] for bucket in told["buckets"]]
        if "after_key" not in told:
            return found
        pages["after"] = told["after_key"]


async def stored_bytes(client: OpenSearchClient, indexes: str) -> int:
    """Bytes on disk of *indexes*, all copies."""
    params = {"filter_path": "_all.total.store.size_in_bytes"}
    answer = await client.call("GET", f"/{indexes}/_stats/store", params=params, deadline_s=client.settings.bulk_deadline_s)
    return int(answer["_all"]["total"]["store"]["size_in_bytes"])


async def merge(client: OpenSearchClient, indexes: str, *, deadline_s: float) -> None:
    """Merge what has many deleted documents, and wait for the end.

    Raises:
        DeadlineExceeded: it goes on after *deadline_s* seconds; OpenSearch finishes it nevertheless. Unavailable: what became of it is
            unknown, because the node that did it left, or it failed. NotFound: there is no such index.
    """
    params = {"only_expunge_deletes": "true", "wait_for_completion": "false"}
    told = await client.call("POST", f"/{indexes}/_forcemerge", params=params, deadline_s=client.settings.bulk_deadline_s)
    path, until = f"/_tasks/{told['task']}", asyncio.get_running_loop().time() + deadline_s
    pause = MERGE_POLL_S
    while True:
        try:
            state = await client.call("GET", path, deadline_s=client.settings.bulk_deadline_s)
        except NotFound as error:
            # of the merge, not of an index: whoever waits for it must not take it for one in which there was nothing to merge
            raise Unavailable("the merge was lost", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S) from error
        if state.get("completed"):
            break
        if asyncio.get_running_loop().time() > until:
            raise failures.refusal(504, "merging_goes_on")
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_POLL_S)
    if state.get("error") or state.get("response", {}).get("_shards", {}).get("failed"):
        raise Unavailable("OpenSearch could not merge", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)


async def expunge(client: OpenSearchClient, indexes: str, *, deadline_s: float) -> int:
    """Write out what is in memory, rewrite every segment that holds deleted documents, and count those that are left."""
    await client.call("POST", f"/{indexes}/_flush", params={"force": "true"}, deadline_s=client.settings.bulk_deadline_s)
    # by default segments with less than a tenth deleted are left alone
    await _expunge_from(client, indexes, share=0)
    try:
        await merge(client, indexes, deadline_s=deadline_s)
    finally:
        await _expunge_from(client, indexes, share=None)
    # only a new commit lets go of the files of the old one
    await client.call("POST", f"/{indexes}/_flush", params={"force": "true"}, deadline_s=client.settings.bulk_deadline_s)
    params = {"filter_path": "_all.total.docs.deleted"}
    answer = await client.call("GET", f"/{indexes}/_stats/docs", params=params, deadline_s=client.settings.bulk_deadline_s)
    return int(answer["_all"]["total"]["docs"]["deleted"])


async def need_writable(client: OpenSearchClient, index: str, indexes: str) -> None:
    """Raise unless *index* exists, every primary of *indexes* is there, and nothing blocks writing.

    Raises:
        Unavailable: a shard is missing, or writes are blocked, as on a full disk, or there is no cluster manager. NotFound: no such index.
    """
    deadline_s = client.settings.search_deadline_s
    await client.call("GET", f"/{index}/_settings", params={"filter_path": "*.settings.index.uuid"}, deadline_s=deadline_s)
    state = await client.call("GET", f"/_cluster/state/blocks/{indexes}", deadline_s=deadline_s)
    blocks = state.get("blocks", {})
    found = [block for of_index in blocks.get("indices", {}).values() for block in of_index.values()]
    found += list(blocks.get("global", {}).values())
    if any("write" in block.get("levels", ()) for block in found):
        raise failures.refusal(503, failures.BLOCKED)
    health = await client.call("GET", f"/_cluster/health/{indexes}", deadline_s=deadline_s)
    if health.get("status") == "red":
        raise Unavailable("a shard of the index is missing", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)


async def _expunge_from(client: OpenSearchClient, indexes: str, *, share: int | None) -> None:
    body = {"index": {"merge.policy.expunge_deletes_allowed": share}}
    params = {"allow_no_indices": "true"}
    await client.call("PUT", f"/{indexes}/_settings", body=body, params=params, deadline_s=client.settings.bulk_deadline_s)


_COLUMNS: dict[str, Any] = {"stored_fields": "_none_", "docvalue_fields": ["key", "version", "dead"]}


def _held(hit: Any) -> Held:
    columns = hit["fields"]
    return Held(key=EventKey(columns["key"][0]), version=int(columns["version"][0]), live=not columns["dead"][0])
