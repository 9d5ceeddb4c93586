"""kill -9 at every named place of requests, consumers, the timeline, rebuilds, the calendar, the scheduler and its jobs.

Belongs here: which act reaches which place, and that nothing is lost or doubled by dying there. Does not belong here: deaths at random
(``test_kill``). A newcomer would get wrong: what a death left undone may be done, and die, while the next start is still under way, so a
start that ends by the next failpoint has reached it.
"""

import ast
import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults import test_archive, test_backups, test_new_memories, test_transfers
from tests.faults.acts import (
    BRISK,
    MEMORY,
    SHORT,
    Run,
    back_up,
    forget,
    forget_again,
    hand_over,
    keep_long,
    keep_short,
    lose_one,
    rebuild_all,
    rebuild_calendar,
    reconcile,
    retain,
    retain_again,
    tell,
    tell_and_sweep,
    tell_and_wait,
    wait_for_backups,
    wait_for_hand_over,
    write_often,
    write_once,
    write_twice,
)
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance, NotStarted, wait_until
from tests.support.walks import walk

import kalends

SOURCES = Path(kalends.__file__).parent
PROJECTIONS = ("lexical", "vector")
Act = Callable[[Run, str], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a place is reached: what is done with it armed, what is armed beside it, and what is done ``before``, and then while ``down``."""

    act: Act = write_once
    before: Act | None = None
    down: Act | None = None
    after: Act = write_once
    beside: str = ""


pytestmark = pytest.mark.timeout(900)

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
            *("before-mark", "after-record", "after-fence", "after-begin", "after-tombstone", "before-followed", "after-tombstones"),
            *("after-destroy", "after-keys", "after-piece", "after-messages", "after-leftovers", "after-calendar", "after-engines"),
            *("after-probe", "after-note", "after-receipt"),
        )
    },
    "backup": {
        f"backup.{place}": Scenario(act=back_up, after=wait_for_backups)
        for place in ("after-segment", "after-messages", "before-manifest", "after-manifest")
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


WIDENING = {"log.before-giving", "log.before-receiving"}
"""Only a log that is widened comes there: tests/services/test_log_widening.py and tests/cluster/test_widening.py."""

ELSEWHERE = WIDENING.union(test_new_memories.PLACES, test_backups.PLACES, test_archive.PLACES, test_transfers.PLACES)


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
