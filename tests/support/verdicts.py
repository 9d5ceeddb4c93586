"""What must hold after every fault: the checker of the fault suite.

Belongs here: invariants over a quiet instance, read from outside. Does not belong here: how the fault was made. A newcomer would get wrong:
the timeline is keyed by id and would hide an event that is in the log twice, so the log itself is read.
"""

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kalends.adapters.nats import open_nats
from kalends.wire import envelopes
from tests.support.api import Api
from tests.support.instance import Instance
from tests.support.load import Ledger

READERS = 4


def nothing_lost(instance: Instance, ledger: Ledger, *, memory: str, by_id: bool = True) -> None:
    """Every acked event is there, once, as it was sent, and nothing else is (I1, I6)."""
    assert ledger.refusals == []
    with api_of(instance) as api:
        listed = Counter[str]()
        texts: dict[str, tuple[str, str]] = {}
        for event in api.events(memory):
            listed[event["event_id"]] += 1
            texts[event["event_id"]] = (event["text"], event["session_id"])
    missing = ledger.acked.keys() - texts.keys()
    assert not missing, f"{len(missing)} of {len(ledger.acked)} acked events are missing, {sorted(missing)[:3]} among them"
    assert [event_id for event_id, times in listed.items() if times > 1] == []
    assert texts == ledger.acked
    if by_id:
        _each_by_id(instance, ledger, memory=memory)


def _each_by_id(instance: Instance, ledger: Ledger, *, memory: str) -> None:
    wanted = list(ledger.acked)

    def wrong(ids: list[str]) -> list[object]:
        with api_of(instance) as api:
            answers = [(event_id, api.event(memory, event_id)) for event_id in ids]
        return [reply for event_id, reply in answers if reply.status != 200 or reply.body["text"] != ledger.acked[event_id][0]]

    with ThreadPoolExecutor(READERS) as readers:
        found = [one for part in readers.map(wrong, [wanted[number::READERS] for number in range(READERS)]) for one in part]
    assert found == []


def logged(url: str, *, user: str, password: str) -> Counter[str]:
    """How often each event id is in the log."""

    async def read() -> Counter[str]:
        found = Counter[str]()
        async with asyncio.timeout(300), open_nats(url=url, user=user, password=password) as bus:
            heads = await bus.log.heads()
            at = dict.fromkeys(heads, 0)
            if not any(heads.values()):
                return found
            async for messages in bus.log.follow(after={}, limit=1000):
                for message in messages:
                    at[message.position.stream] = message.position.sequence
                    event_id = envelopes.parse(message.body).event_id
                    if event_id is not None:
                        found[event_id] += 1
                if all(at[stream] >= head for stream, head in heads.items()):
                    break
        return found

    return asyncio.run(read())


def logged_once(instance: Instance, ledger: Ledger) -> None:
    """The log of an ``up`` instance holds exactly the acked events, each once (I6)."""
    config: dict[str, Any] = json.loads((instance.data / "nats" / "broker.conf").read_text(encoding="utf-8"))
    platform = config["authorization"]["users"][0]
    check_once(logged(f"nats://{config['listen']}", user=platform["user"], password=platform["password"]), ledger)


def logged_once_at(url: str, password_file: Path, ledger: Ledger) -> None:
    """The same for a broker that stands apart."""
    check_once(logged(url, user="platform", password=password_file.read_text(encoding="utf-8")), ledger)


def check_once(found: Counter[str], ledger: Ledger) -> None:
    """*found* is the ledger, each once."""
    assert [event_id for event_id, times in found.items() if times > 1] == []
    assert found.keys() == ledger.acked.keys()


def projections_agree(api: Api, *, events: int) -> dict[str, str]:
    """All projections of the process hold the same *events* events in the same versions; returns their digests."""
    digests = api.digests()
    assert len(set(digests.values())) == 1, digests
    assert {int(digest.partition(":")[0]) for digest in digests.values()} == {events}, digests
    return digests


def equal_a_fresh_rebuild(api: Api, *, seconds: float = 300.0) -> None:
    """What the search projections hold is what the log says (I3)."""
    before = api.digests()
    serving = api.status()["generations"]
    api.rebuild(seconds=seconds)
    after = api.status()["generations"]
    assert all(after[name] != serving[name] for name in serving), (serving, after)
    assert api.digests() == before


def api_of(instance: Instance) -> Api:
    """A client of *instance*, wherever its last start put it."""
    return Api(lambda: instance.url, lambda: instance.token)
