"""What is done to an instance that may die under it, and how it is tried again until it is done.

Belongs here: the acts. Does not belong here: where the instance dies, and what must hold then (``test_failpoints``). A newcomer would get
wrong: an act does not know whether its instance lives; it goes on until the act is done or the instance has ended.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.hands import Hands
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN, Ledger, an_event, past_moments

from kalends.adapters.embedded.lexicon import TantivyLexicon

MEMORY = "faults"
EVENTS = 20
MOMENT = timedelta(seconds=1)
BRISK = {
    "KALENDS_SUMMARIZE__SETTLE_S": "0",
    "KALENDS_SCHEDULER__SEGMENT_SWEEP": "* * * * * *",
    "KALENDS_ERASURE__FENCE_S": "0.2",
    "KALENDS_APPROVALS__OPERATIONS": "hand_over",
}
"""A sweep takes up what has only just been told, and is never far; an erasure hardly waits for writers; a hand-over takes two persons."""

LONG, SHORT = 9, 5
"""Chunks of a document before and after it is replaced."""


class Run:
    """What is done to an instance that may die under it: everything is tried until it is done or the instance is gone."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.ledger = Ledger()
        self.told: dict[str, list[dict[str, Any]]] = {}
        """What was told of the past, by its name, in the order of telling."""
        self.expiring: set[str] = set()
        self.hands = Hands()

    @property
    def lasting(self) -> Ledger:
        """What was acked and does not expire."""
        acked = {event_id: said for event_id, said in self.ledger.acked.items() if event_id not in self.expiring}
        return replace(self.ledger, acked=acked)

    def write(self, name: str, *, batches: int = 1) -> None:
        """Write events; the same ones whenever it is called with the same name."""
        source = random.Random(name)
        for number in range(batches):
            events = [an_event(source, session=name) for _ in range(EVENTS)]
            self.send(_named(source, events, number=number))

    def tell(self, name: str) -> None:
        """Tell of a past day and the following one, in a session that is quiet at once; the same whenever it is called so."""
        source = random.Random(name)
        events = [an_event(source, session=name, at=at) for at in past_moments(source, EVENTS)]
        self.told[name] = _named(source, events)
        self.send(self.told[name])

    def tell_for_a_moment(self, name: str) -> None:
        """One event more, in the middle of what was told: it expires in a moment, which is over on return."""
        source = random.Random(f"{name} for a moment")
        before = self.told[name][EVENTS // 2]
        (event,) = _named(source, [{**an_event(source, session=name), "occurred_at": before["occurred_at"]}])
        if event["event_id"] not in self.expiring:
            event["expires_at"] = (datetime.now(UTC) + MOMENT).isoformat()
            self.expiring.add(event["event_id"])
            self.send([event])
        end = time.monotonic() + MOMENT.total_seconds()
        wait_until(lambda: time.monotonic() > end, seconds=10)

    def keep(self, name: str, *, chunks: int) -> None:
        """Keep a document."""
        text = "".join(f"# Heading {number}\n\nThe river {name} rose by {number} of {chunks} feet.\n\n" for number in range(chunks))
        self.until(lambda api: _done(api.ask("POST", f"/memories/{MEMORY}/documents", {"document_id": name, "text": text})))

    def rebuild(self) -> None:
        """Ask for a rebuild of everything."""
        self.until(lambda api: _done(api.ask("POST", "/admin/reindexes", {"projection": "all"})))

    def rebuild_calendar(self) -> None:
        """Ask for the calendar to be written anew."""
        self.until(lambda api: _done(api.ask("POST", "/admin/toc-rebuilds", {})))

    def forget(self, session: str) -> None:
        """Ask for the erasure of a session, of which nothing is expected any more."""
        gone = {event_id for event_id, said in self.ledger.acked.items() if said[1] == session}
        self.expiring |= gone
        for event_id in gone:
            del self.ledger.acked[event_id]
        self.until(lambda api: _done(api.ask("POST", f"/memories/{MEMORY}/erasures", {"session_id": session})))

    def forgotten(self) -> None:
        """Wait until every erasure that was begun is done."""

        def done(api: Api) -> bool:
            listed = api.ask("GET", f"/memories/{MEMORY}/erasures?limit=200")
            return _done(listed) and {one["state"] for one in listed.body["items"]} == {"erased"}

        self.until(done)

    def do(self, job: str) -> None:
        """Have a job run, and see the end of it."""
        asked_at: int | None = None

        def ran(api: Api) -> bool:
            nonlocal asked_at
            listed = api.ask("GET", "/scheduler/jobs")
            if not _done(listed):
                return False
            told = next(one for one in listed.body["items"] if one["job_name"] == job)
            over = asked_at is not None and told["run_count"] > asked_at
            if over and told["last_result"] == "SUCCESS":
                return True
            if (asked_at is None or over) and _done(api.ask("POST", f"/scheduler/jobs/{job}/run")):
                asked_at = told["run_count"]
            return False

        self.until(ran)

    def make_memory(self) -> None:
        """Make the memory."""
        self.until(lambda api: _done(api.ask("PUT", f"/memories/{MEMORY}", {})))

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send *events* until they are acked."""
        self.until(lambda api: self._acked(api, events))

    def _acked(self, api: Api, events: list[dict[str, Any]]) -> bool:
        reply = api.append(MEMORY, events)
        if _done(reply):
            self.ledger.note(events, reply.body["results"])
            return True
        return False

    def until(self, attempt: Callable[[Api], bool]) -> None:
        """Try until *attempt* says that it is done, or the instance is gone."""

        def done() -> bool:
            try:
                return not self.instance.running or attempt(api)
            except Away:
                return False

        with verdicts.api_of(self.instance) as api:
            assert wait_until(done, seconds=60, every=0.05), self.instance.last_words


def _named(source: random.Random, events: list[dict[str, Any]], *, number: int = 0) -> list[dict[str, Any]]:
    """*events* with ids that are the same in every run."""
    for place, event in enumerate(events):
        event["event_id"] = f"01JB{source.randrange(10**14):014d}{number:04d}{place:04d}"
    return events


def _done(reply: Any) -> bool:
    assert 200 <= reply.status < 300 or reply.status in AGAIN, reply
    return reply.status not in AGAIN


def write_once(run: Run, name: str) -> None:
    """One request."""
    run.write(name)


def write_twice(run: Run, name: str) -> None:
    """The same request again before the timeline knows of it: the broker finds the repetition, and each event is sent alone."""
    run.write(name)
    run.write(name)


def write_often(run: Run, name: str) -> None:
    """Request after request."""
    run.write(name, batches=4)


def keep_long(run: Run, name: str) -> None:
    """A document."""
    run.keep(name, chunks=LONG)


def keep_short(run: Run, name: str) -> None:
    """Another text of the same document."""
    run.keep(name, chunks=SHORT)


def rebuild_all(run: Run, _: str) -> None:
    """A rebuild of both projections."""
    run.rebuild()


def tell(run: Run, name: str) -> None:
    """A session of the past, which the next sweep finds quiet."""
    run.tell(name)


def tell_and_sweep(run: Run, name: str) -> None:
    """The same, and a sweep that somebody asks for."""
    run.tell(name)
    run.do("segment-sweep")


def rebuild_calendar(run: Run, _: str) -> None:
    """All of the calendar is written anew."""
    run.rebuild_calendar()


def retain(run: Run, name: str) -> None:
    """An event expires and is erased."""
    run.tell(name)
    run.tell_for_a_moment(name)
    run.do("retention")


def retain_again(run: Run, name: str) -> None:
    """What it asked for goes on by itself, and the next run finds the rest."""
    retain(run, name)
    run.forgotten()


def reconcile(run: Run, _: str) -> None:
    """The projections are compared with the log."""
    run.do("reconcile")


def tell_and_wait(run: Run, name: str) -> None:
    """A session of the past that every projection has, with its nodes."""
    run.tell(name)
    with verdicts.api_of(run.instance) as api:
        api.quiet()
        api.run_job("segment-sweep")
        verdicts.calendar_done(api)


def forget(run: Run, name: str) -> None:
    """A session is told and erased."""
    run.write(name)
    run.forget(name)


def forget_again(run: Run, name: str) -> None:
    """What was begun goes on by itself; to ask again changes nothing."""
    run.forget(name)
    run.forgotten()


def back_up(run: Run, name: str) -> None:
    """Something is written, and everything backed up."""
    run.write(name)
    run.until(lambda api: _done(api.ask("POST", "/admin/backups", {"all": True})))
    wait_until(lambda: not run.instance.running, seconds=30)


def wait_for_backups(run: Run, _: str) -> None:
    """What was begun is done without anybody's asking again, and every byte and every seal of it is good."""

    def all_good(api: Api) -> bool:
        listed = api.ask("GET", "/operations?limit=200")
        if not _done(listed):
            return False
        states = {one["kind"]: one["state"] for one in listed.body["items"]}
        return states.get("backup") == "succeeded"

    run.until(all_good)
    with verdicts.api_of(run.instance) as api:
        backups = api.good("GET", "/admin/backups")
        assert backups["unreadable"] == []
        asked = api.good("POST", "/admin/verifications", {"backup_id": backups["items"][0]["backup_id"], "deep": True})
        api.finished(asked["operation_id"], seconds=60)


def hand_over(run: Run, name: str) -> None:
    """What was written is handed over; the process dies whenever it does what was approved."""
    run.write(name)
    run.until(run.hands.asked_and_approved(MEMORY, name))
    wait_until(lambda: not run.instance.running, seconds=30)


def wait_for_hand_over(run: Run, _: str) -> None:
    """What was approved is done without anybody's asking again."""
    run.until(run.hands.all_done(MEMORY))


def lose_one(run: Run, _: str) -> None:
    """Behind everybody's back an event and a node go missing from the lexical projection of an instance that is down."""
    assert not run.instance.running
    base = run.instance.data / "lexical"
    folder = base / (base / "CURRENT").read_text(encoding="ascii").strip()

    async def plant() -> int:
        lexicon, planted = await TantivyLexicon.open(folder), 0
        try:
            for scope in await lexicon.scopes():
                live = [one for one in await lexicon.inventory(scope, after=None, limit=1000) if one.live]
                planted += await lexicon.remove(scope, live[:1])
        finally:
            await lexicon.close()
        return planted

    assert asyncio.run(plant()) == len(("an event", "a node"))
