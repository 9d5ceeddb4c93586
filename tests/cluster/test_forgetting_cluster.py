"""Forgetting where the log is three real nats-servers: after the receipt, no file of any node or data folder holds what was erased.

Belongs here: one instance with engines of its own on a replicated log. Does not belong here: what the servers keep by themselves
(``test_nats_erasing``). A newcomer would get wrong: the log holds bodies sealed, so that a canary is in none of its files proves nothing;
what is looked for there are the sealed bytes and the wrapped keys themselves, and they are found before.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.api import Api
from tests.support.engines import copy_models
from tests.support.instance import Instance, wait_until
from tests.support.nats_cluster import NatsCluster

from kalends.adapters.nats import open_nats
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire import envelopes
from kalends.wire.vault import key_reference

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

MEMORY = "forgetful"
SCOPE = Scope(Tenant("local"), MemoryName(MEMORY))
SESSIONS, EVENTS = 6, 20
GONE = ("session-1", "session-4")
BRISK = {"KALENDS_ERASURE__FENCE_S": "0.5", "KALENDS_SUMMARIZE__SETTLE_S": "0"}
ERASED_S = 300.0


@pytest.fixture
def instance(cluster: NatsCluster, tmp_path: Path) -> Iterator[Instance]:
    """Everything in one process, but for the log."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    copy_models(data / "models")
    keys = {f"KALENDS_AUTH__{name}": str(tmp_path / file) for name, file in (("KEY_FILE", "kek"), ("TOKEN_FILE", "token"))}
    with Instance(data, settings={**cluster.settings, **keys, **BRISK}) as made:
        yield made.start()


def canary(session: str, number: int) -> str:
    """A word that occurs in one event only."""
    return f"zz{session.replace('-', '')}w{number}zz"


def told(api: Api) -> dict[str, dict[str, Any]]:
    """Canaries in some sessions of long ago, in every projection and the calendar; by the event's id."""
    api.make_memory(MEMORY)
    items = [
        {
            "session_id": f"session-{session}",
            "kind": "message",
            "text": f"{canary(f'session-{session}', number)} was told of the river {session}",
            "occurred_at": f"2026-02-{session + 1:02d}T10:{number:02d}:00Z",
        }
        for session in range(SESSIONS)
        for number in range(EVENTS)
    ]
    reply = api.append(MEMORY, items)
    assert reply.status == 202, reply
    api.quiet()
    api.run_job("toc-day")
    api.quiet()
    return {one["event_id"]: item for one, item in zip(reply.body["results"], items, strict=True)}


async def stored(cluster: NatsCluster, sessions: Sequence[str], event_ids: Mapping[str, object]) -> list[bytes]:
    """The wrapped keys of *sessions* and the sealed bodies of *event_ids*, as the log has them."""
    async with open_nats(url=cluster.url, user=cluster.user, password=cluster.password) as bus:
        found = list((await bus.keys.get(SCOPE, [key_reference(SCOPE, session) for session in sessions])).values())
        async with asyncio.timeout(30), contextlib.aclosing(bus.log.follow(after={}, limit=500)) as batches:
            async for messages in batches:
                parsed = [envelopes.parse(message.body) for message in messages]
                found += [one.envelope.sealed for one in parsed if one.scope == SCOPE and one.event_id in event_ids]
                if len(found) == len(sessions) + len(event_ids):
                    return found
    raise AssertionError("the log ended before everything was found")


def files_with(folders: Sequence[Path], needles: Sequence[bytes]) -> set[str]:
    """The files below *folders* that hold one of *needles*."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path) for path in files for content in [_content(path)] if any(needle in content for needle in needles)}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # the servers write their files anew meanwhile
        return b""


def test_after_the_receipt_no_node_and_no_folder_holds_what_was_erased(instance: Instance, cluster: NatsCluster) -> None:
    """Two sessions of six: their canaries, their sealed bodies, their wrapped keys; the other four are found, and open."""
    nodes = [node.folder for node in cluster.nodes]
    with Api(lambda: instance.url, lambda: instance.token, timeout=60.0) as api:
        events = told(api)
        gone = {event_id: item for event_id, item in events.items() if item["session_id"] in GONE}
        needles = asyncio.run(stored(cluster, GONE, gone))
        assert all(len(needle) > 16 for needle in needles)
        assert files_with(nodes, needles), "nothing is found that could go"

        receipts = [erased(api, instance, session) for session in GONE]

        words = [item["text"].split()[0].encode() for item in gone.values()]
        assert files_with([instance.data, *nodes], [*needles, *words]) == set()
        assert [receipt["counts"]["log_messages"] >= EVENTS and receipt["counts"]["keys"] >= 1 for receipt in receipts] == [True, True]
        assert {api.event(MEMORY, event_id).status for event_id in gone} == {410}
        assert {event["event_id"] for event in api.events(MEMORY)} == events.keys() - gone.keys()
        for session in range(SESSIONS):
            body = {"query": canary(f"session-{session}", 7), "mode": "lexical", "limit": 3}
            hits = api.good("POST", f"/memories/{MEMORY}/search", body)["hits"]
            assert (len(hits) == 1) is (f"session-{session}" not in GONE)


def erased(api: Api, instance: Instance, session: str) -> dict[str, Any]:
    """Erase a session, and give the receipt."""
    begun = api.ask("POST", f"/memories/{MEMORY}/erasures", {"session_id": session})
    assert begun.status == 202, begun
    where = f"/memories/{MEMORY}/erasures/{begun.body['erasure_id']}"
    assert wait_until(lambda: api.good("GET", where)["state"] == "erased", seconds=ERASED_S, every=0.5), instance.last_words[-4000:]
    receipt: dict[str, Any] = api.good("GET", f"{where}/receipt")
    return receipt
