"""What must hold after every fault: the checker of the fault suite.

Belongs here: invariants over a quiet instance, read from outside. Does not belong here: how the fault was made. A newcomer would get wrong:
the timeline is keyed by id and would hide an event that is in the log twice, so the log itself is read; and the calendar has a job of its
own that keeps it, which may write a node between any two looks.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kalends.adapters.nats import NatsOptions, open_nats
from kalends.wire import envelopes
from tests.support.api import Api
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger
from tests.support.walks import Walk, check_excerpts, walk

READERS = 4
TRUTHS = ("timeline", "toc")
"""Events, and nodes of the calendar; the search projections hold both."""


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


def logged(url: str, *, user: str, password: str, replicas: int = 1, stream_bytes: int = 64 << 30) -> Counter[str]:
    """How often each event id is in the log; its streams have so many *replicas*, and *stream_bytes* each."""

    async def read() -> Counter[str]:
        found = Counter[str]()
        options = NatsOptions(replicas=replicas, events_bytes=stream_bytes)
        async with asyncio.timeout(300), open_nats(url=url, user=user, password=password, options=options) as bus:
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


def projections_agree(api: Api, *, events: int | None = None, seconds: float = 60.0) -> dict[str, str]:
    """Timeline and calendar together hold what each search projection holds, and the timeline holds *events*; returns the digests.

    The calendar may be written while this looks, so what differs must go on differing to count, and what agrees must do so twice.
    """
    seen: list[dict[str, str]] = [api.digests()]

    def agreed() -> bool:
        seen.append(api.digests())
        return seen[-1] == seen[-2] and agree(seen[-1])

    assert wait_until(agreed, seconds=seconds, every=0.2), seen[-1]
    digests = seen[-1]
    assert events is None or count_of(digests["timeline"]) == events, digests
    return digests


def count_of(digest: str) -> int:
    """How many are live."""
    return int(digest.partition(":")[0])


def agree(digests: Mapping[str, str]) -> bool:
    """Whether each search projection holds what timeline and calendar hold together."""
    truth = _sum([digests[name] for name in TRUTHS if name in digests])
    return all(digest == truth for name, digest in digests.items() if name not in TRUTHS)


def _sum(digests: Sequence[str]) -> str:
    """What a projection holds that holds all that *digests* are of; a digest's hash is a sum modulo 2^128."""
    total = sum(int(digest.partition(":")[2], 16) for digest in digests) % (1 << 128)
    return f"{sum(map(count_of, digests))}:{total:032x}"


def equal_a_fresh_rebuild(api: Api, *, seconds: float = 300.0) -> None:
    """What the search projections hold is what the log says (I3)."""
    before = projections_agree(api)
    serving = api.status()["generations"]
    api.rebuild(seconds=seconds)
    after = api.status()["generations"]
    assert all(after[name] != serving[name] for name in serving), (serving, after)
    rebuilt = projections_agree(api)
    assert rebuilt["timeline"] == before["timeline"]
    # the calendar alone may have gone on meanwhile; then what was compared is the sum, here and before
    assert rebuilt == before or rebuilt["toc"] != before["toc"]


def calendar_done(api: Api, *, seconds: float = 60.0) -> None:
    """Return once every projection has what the log holds, and nothing of the calendar is due.

    Sessions that still talk are due until they are quiet; the job ``toc-day`` cuts them too.
    """
    end = time.monotonic() + seconds
    while True:
        assert wait_until(lambda: _nothing_due(api), seconds=end - time.monotonic(), every=0.1), api.status()
        api.quiet(TRUTHS, seconds=max(end - time.monotonic(), 1.0))
        if _nothing_due(api):
            return


def _nothing_due(api: Api) -> bool:
    due = api.status()["calendar"]
    return (due["units_due"], due["periods_due"]) == (0, 0)


def calendar_complete(api: Api, events: Mapping[str, tuple[str, str]], *, memory: str) -> Walk:
    """A walk meets each of *events* (text and session by id) exactly once, and every line of every node rests on its events' words."""
    walked = walk(api, memory)
    times = Counter(walked.events)
    assert [event_id for event_id, count in times.items() if count > 1] == []
    missing, strange = events.keys() - times.keys(), times.keys() - events.keys()
    assert not missing, f"{len(missing)} of {len(events)} events are not in the calendar, {sorted(missing)[:3]} among them"
    assert not strange, sorted(strange)[:3]
    check_excerpts(walked, {event_id: text for event_id, (text, _) in events.items()})
    return walked


def calendar_equals_a_forced_rebuild(api: Api, walked: Walk, *, memory: str, writer: Api | None = None, seconds: float = 300.0) -> None:
    """Writing the whole calendar anew changes nothing in it, not even a version. *writer* is where it is written, if that is elsewhere."""
    told = (writer or api).rebuild_calendar(seconds=seconds)
    assert told["done"] == told["total"] >= len(walked.children), told
    api.quiet(seconds=seconds)
    again = walk(api, memory)
    assert again.said == walked.said
    assert again.versions == walked.versions


def api_of(instance: Instance, *, timeout: float = 15.0) -> Api:
    """A client of *instance*, wherever its last start put it; *timeout* is how long it waits for one answer, in seconds."""
    return Api(lambda: instance.url, lambda: instance.token, timeout=timeout)
