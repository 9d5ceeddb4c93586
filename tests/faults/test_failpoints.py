"""kill -9 at every named place of requests, consumers, the timeline, rebuilds, the calendar, the scheduler and its jobs.

Belongs here: which act reaches which place, and that nothing is lost or doubled by dying there. Does not belong here: deaths at random
(``test_kill``). A newcomer would get wrong: what a death left undone may be done, and die, while the next start is still under way, so a
start that ends by the next failpoint has reached it.
"""

import ast
import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.hands import Hands
from tests.support.instance import Instance, NotStarted, wait_until
from tests.support.load import AGAIN, Ledger, an_event, past_moments
from tests.support.walks import walk

import kalends
from kalends.adapters.embedded.lexicon import TantivyLexicon

SOURCES = Path(kalends.__file__).parent
PROJECTIONS = ("lexical", "vector")
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


Act = Callable[[Run, str], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a place is reached: what is done with it armed, what is armed beside it, and what is done ``before``, and then while ``down``."""

    act: Act = write_once
    before: Act | None = None
    down: Act | None = None
    after: Act = write_once
    beside: str = ""


DOCUMENT = Scenario(act=keep_short, before=keep_long, after=keep_short)
CALENDAR = Scenario(act=tell_and_sweep, after=tell)
REWRITTEN = Scenario(before=tell_and_wait, act=rebuild_calendar, after=tell)
"""After the death the rebuild goes on by itself; nobody asks again."""

FAMILIES: Mapping[str, Mapping[str, Scenario]] = {
    "request": {
        # first, for a process whose timeline never caught up takes no writes
        "log.before-single-answers": Scenario(act=write_twice, beside="timeline.before-put=stall"),
        "ingest.before-append": Scenario(),
        "log.before-commit": Scenario(),
        "log.before-answer": Scenario(),
        "log.after-commit": Scenario(),
        "ingest.after-append": Scenario(),
    },
    "documents": {"documents.after-record": DOCUMENT, "documents.after-chunks": DOCUMENT, "documents.after-retract": DOCUMENT},
    "lexical": {f"index.lexical.{place}": Scenario() for place in ("after-fetch", "before-ack", "after-ack")},
    "vector": {f"index.vector.{place}": Scenario() for place in ("after-fetch", "after-embed", "before-ack", "after-ack")},
    "timeline": {f"timeline.{place}@2": Scenario(act=write_often, after=write_often) for place in ("before-put", "after-put")},
    "rebuild": {
        "rebuild.before-switch": Scenario(act=rebuild_all, before=write_once),
        "rebuild.after-switch@2": Scenario(act=rebuild_all, before=write_once),
    },
    "erasure": {
        f"erasure.{place}": Scenario(act=forget, after=forget_again)
        for place in (
            *("after-record", "after-fence", "after-begin", "after-tombstone", "before-followed", "after-tombstones", "after-destroy"),
            *("after-keys", "after-piece", "after-messages", "after-leftovers", "after-calendar", "after-engines", "after-probe"),
            "after-receipt",
        )
    },
    "handing over": {
        place: Scenario(act=hand_over, after=wait_for_hand_over)
        for place in ("approval.after-decision", "hand-over.after-record", "approval.after-act", "hand-over.after-rewrap")
    },
    "upkeep": {
        "reconcile.before-mend": Scenario(before=tell_and_wait, down=lose_one, act=reconcile, after=reconcile),
        **{f"calendar.{place}": CALENDAR for place in ("before-append", "after-append")},
        **{f"calendar.{place}": CALENDAR for place in ("before-settle", "after-settle", "before-settle-period")},
        "retention.after-ask": Scenario(act=retain, after=retain_again),
        **{f"scheduler.{place}": CALENDAR for place in ("after-take-over", "before-ask", "after-ask", "before-write")},
    },
}
"""Places that are reached one after the other in ``make test``, by the hit at which they act."""

ONE_BY_ONE: Mapping[str, Scenario] = {
    **{f"calendar.{place}-append@{hit}": CALENDAR for hit in (2, 5) for place in ("before", "after")},
    **{f"calendar.before-settle-period@{hit}": CALENDAR for hit in (2, 4)},
    "calendar.before-settle@1 of a rebuild": REWRITTEN,
    "calendar.after-settle@1 of a rebuild": REWRITTEN,
    "calendar.before-settle-period@3 of a rebuild": REWRITTEN,
}
"""Later hits. A sweep appends segments, days, weeks, months and years, so that the fifth append is of a year."""

SCENARIOS = {name: scenario for family in FAMILIES.values() for name, scenario in family.items()} | dict(ONE_BY_ONE)


def place_of(name: str) -> str:
    """The failpoint of a scenario."""
    return name.partition("@")[0]


def armed_for(name: str) -> str:
    """What arms it."""
    place, _, hit = name.partition(" ")[0].partition("@")
    return f"{place}=kill@{hit or 1}"


def failpoints() -> Iterator[str]:
    """Every name in the source; ``{self._projection}`` stands for each projection."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                name = node.args[0]
                if isinstance(name, ast.JoinedStr):
                    pieces = [part.value if isinstance(part, ast.Constant) else "{}" for part in name.values]
                    yield from ("".join(map(str, pieces)).format(projection) for projection in PROJECTIONS)
                else:
                    yield str(ast.literal_eval(name))


ELSEWHERE = {"log.before-giving", "log.before-receiving"}
"""Only a log that is widened comes there: tests/services/test_log_widening.py and tests/cluster/test_widening.py."""


def test_every_failpoint_of_the_source_has_a_scenario() -> None:
    """A new arrow comes with its test, and a scenario without its arrow tests nothing."""
    assert set(failpoints()) - ELSEWHERE == {place_of(name) for name in SCENARIOS}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_lost_or_doubled_by_a_kill_at_each_place_of(family: str, instance: Instance, uninterrupted: Instance) -> None:
    """The process dies at one place after the other; at last everything is there once, as a rebuild and an undisturbed life say too."""
    die_at(list(FAMILIES[family]), instance, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_doubled_by_a_kill_at(name: str, instance: Instance, uninterrupted: Instance) -> None:
    """The process dies at the place; after a restart and the same requests everything is there once, as after an undisturbed life."""
    die_at([name], instance, uninterrupted)


def die_at(names: Sequence[str], instance: Instance, uninterrupted: Instance) -> None:
    """Kill *instance* at each of *names*, then restart it, ask for the same again, and check."""
    run = Run(instance)
    prepare = [(name, SCENARIOS[name].before) for name in names]
    if any(before for _, before in prepare):
        instance.start(BRISK)
        run.make_memory()
        for name, before in prepare:
            if before is not None:
                before(run, name)
        instance.kill()
    for name in names:
        reach(name, run)
    if run.told:
        uninterrupted.spawn(BRISK)  # its start takes as long as ours
    instance.start(BRISK)
    run.make_memory()
    for name in names:
        SCENARIOS[name].after(run, name)
    with verdicts.api_of(instance) as api:
        api.quiet()
        if run.told:
            with undisturbed(run, uninterrupted) as other:
                check_calendar(api, run, other)
        check(instance, api, run, documents=[name for name in names if SCENARIOS[name] is DOCUMENT])


def reach(name: str, run: Run) -> None:
    """Start with *name* armed, act, and see the process die there."""
    scenario = SCENARIOS[name]
    if scenario.down is not None:
        scenario.down(run, name)
    armed = ",".join(filter(None, (scenario.beside, armed_for(name))))
    with contextlib.suppress(NotStarted):
        run.instance.start({**BRISK, "KALENDS_FAILPOINTS": armed})
    run.make_memory()
    scenario.act(run, name)

    assert run.instance.wait() == -signal.SIGKILL


def check(instance: Instance, api: Api, run: Run, *, documents: Sequence[str]) -> None:
    """The invariants, with and without documents."""
    chunks = SHORT * len(documents)
    if documents:
        listed = [event for event in api.events(MEMORY) if event.get("document_id")]
        texts = [event["text"] for event in listed]
        assert len({event["event_id"] for event in listed}) == len(set(texts)) == len(listed) == chunks
        assert all(any(f"{name} rose by {number} of {SHORT} " in text for text in texts) for name, number in wanted(documents))
    else:
        verdicts.logged_once(instance, run.lasting)
        verdicts.nothing_lost(instance, run.lasting, memory=MEMORY, by_id=False)
    assert {api.event(MEMORY, event_id).status for event_id in run.expiring} <= {404, 410}
    verdicts.projections_agree(api, events=len(run.lasting.acked) + chunks)
    verdicts.equal_a_fresh_rebuild(api)


@contextlib.contextmanager
def undisturbed(run: Run, uninterrupted: Instance) -> Iterator[Api]:
    """An instance that was spawned, and told what *run* told of the past and has lasted."""
    other = Run(uninterrupted.ready())
    other.make_memory()
    for events in run.told.values():
        other.send(events)
    with verdicts.api_of(uninterrupted) as api:
        yield api
    uninterrupted.kill()


def check_calendar(api: Api, run: Run, other: Api) -> None:
    """The calendar is whole, is what a rebuild makes of it, and is that of an instance that was told the same and never died."""
    verdicts.calendar_done(api)
    assert wait_until(lambda: all_succeeded(api), seconds=30, every=0.1), api.good("GET", "/operations")
    walked = verdicts.calendar_complete(api, run.lasting.acked, memory=MEMORY)
    verdicts.calendar_equals_a_forced_rebuild(api, walked, memory=MEMORY)
    verdicts.calendar_done(other)
    assert walk(other, MEMORY).said == walked.said


def all_succeeded(api: Api) -> bool:
    """Whether every long piece of work that was asked for, by whomever and whenever, has been done."""
    return {one["state"] for one in api.good("GET", "/operations")["items"]} <= {"succeeded"}


def wanted(documents: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each document with the number of each of its chunks."""
    return itertools.product(documents, range(SHORT))
