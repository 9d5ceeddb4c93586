"""kill -9 at every named place: between a request and its ack, between fetch and ack of each consumer, in the timeline, in a rebuild.

Belongs here: which act reaches which place, and that nothing is lost or doubled by dying there. Does not belong here: deaths at random
(``test_kill``). A newcomer would get wrong: what a death left undone may be done, and die, while the next start is still under way, so a
start that ends by the next failpoint has reached it.
"""

import ast
import contextlib
import itertools
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, NotStarted, wait_until
from tests.support.load import AGAIN, Ledger, an_event

import kalends

SOURCES = Path(kalends.__file__).parent
PROJECTIONS = ("lexical", "vector")
MEMORY = "faults"
EVENTS = 20
LONG, SHORT = 9, 5
"""Chunks of a document before and after it is replaced."""


class Run:
    """What is done to an instance that may die under it: everything is tried until it is done or the instance is gone."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.ledger = Ledger()

    def write(self, name: str, *, batches: int = 1) -> None:
        """Write events; the same ones whenever it is called with the same name."""
        source = random.Random(name)
        for number in range(batches):
            events = [an_event(source, session=name) for _ in range(EVENTS)]
            for place, event in enumerate(events):
                event["event_id"] = f"01JB{source.randrange(10**14):014d}{number:04d}{place:04d}"
            self._until(lambda api, events=events: self._acked(api, events))  # type: ignore[misc]

    def keep(self, name: str, *, chunks: int) -> None:
        """Keep a document."""
        text = "".join(f"# Heading {number}\n\nThe river {name} rose by {number} of {chunks} feet.\n\n" for number in range(chunks))
        self._until(lambda api: _done(api.ask("POST", f"/memories/{MEMORY}/documents", {"document_id": name, "text": text})))

    def rebuild(self) -> None:
        """Ask for a rebuild of everything."""
        self._until(lambda api: _done(api.ask("POST", "/admin/reindexes", {"projection": "all"})))

    def make_memory(self) -> None:
        """Make the memory."""
        self._until(lambda api: _done(api.ask("PUT", f"/memories/{MEMORY}", {})))

    def _acked(self, api: Api, events: list[dict[str, Any]]) -> bool:
        reply = api.append(MEMORY, events)
        if _done(reply):
            self.ledger.note(events, reply.body["results"])
            return True
        return False

    def _until(self, attempt: Callable[[Api], bool]) -> None:
        def done() -> bool:
            try:
                return not self.instance.running or attempt(api)
            except Away:
                return False

        with verdicts.api_of(self.instance) as api:
            assert wait_until(done, seconds=30), self.instance.last_words


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


Act = Callable[[Run, str], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a place is reached: what is done with it armed, what is armed beside it, what is done before, and at which hit it acts."""

    act: Act = write_once
    before: Act | None = None
    after: Act = write_once
    beside: str = ""
    hit: int = 1


DOCUMENT = Scenario(act=keep_short, before=keep_long, after=keep_short)
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
    "timeline": {f"timeline.{place}": Scenario(act=write_often, after=write_often, hit=2) for place in ("before-put", "after-put")},
    "rebuild": {
        "rebuild.before-switch": Scenario(act=rebuild_all, before=write_once),
        "rebuild.after-switch": Scenario(act=rebuild_all, before=write_once, hit=2),
    },
}
SCENARIOS = {name: scenario for family in FAMILIES.values() for name, scenario in family.items()}


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


def test_every_failpoint_of_the_source_has_a_scenario() -> None:
    """A new arrow comes with its test, and a scenario without its arrow tests nothing."""
    assert set(failpoints()) == set(SCENARIOS)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_lost_or_doubled_by_a_kill_at_each_place_of(family: str, instance: Instance) -> None:
    """The process dies at one place after the other; at last everything is there once, as a rebuild says too."""
    die_at(list(FAMILIES[family]), instance)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_doubled_by_a_kill_at(name: str, instance: Instance) -> None:
    """The process dies at the place; after a restart and the same requests everything is there once, as a rebuild says too."""
    die_at([name], instance)


def die_at(names: Sequence[str], instance: Instance) -> None:
    """Kill *instance* at each of *names*, then restart it, ask for the same again, and check."""
    run = Run(instance)
    prepare = [(name, SCENARIOS[name].before) for name in names]
    if any(before for _, before in prepare):
        instance.start()
        run.make_memory()
        for name, before in prepare:
            if before is not None:
                before(run, name)
        instance.kill()
    for name in names:
        reach(name, run)
    instance.start()
    run.make_memory()
    for name in names:
        SCENARIOS[name].after(run, name)
    with verdicts.api_of(instance) as api:
        api.quiet()
        check(instance, api, run.ledger, documents=[name for name in names if SCENARIOS[name] is DOCUMENT])


def reach(name: str, run: Run) -> None:
    """Start with *name* armed, act, and see the process die there."""
    scenario = SCENARIOS[name]
    armed = ",".join(filter(None, (scenario.beside, f"{name}=kill@{scenario.hit}")))
    with contextlib.suppress(NotStarted):
        run.instance.start({"KALENDS_FAILPOINTS": armed})
    run.make_memory()
    scenario.act(run, name)

    assert run.instance.wait() == -signal.SIGKILL


def check(instance: Instance, api: Api, ledger: Ledger, *, documents: Sequence[str]) -> None:
    """The invariants, with and without documents."""
    chunks = SHORT * len(documents)
    if documents:
        listed = [event for event in api.events(MEMORY) if event.get("document_id")]
        texts = [event["text"] for event in listed]
        assert len({event["event_id"] for event in listed}) == len(set(texts)) == len(listed) == chunks
        assert all(any(f"{name} rose by {number} of {SHORT} " in text for text in texts) for name, number in wanted(documents))
    else:
        verdicts.nothing_lost(instance, ledger, memory=MEMORY, by_id=False)
        verdicts.logged_once(instance, ledger)
    verdicts.projections_agree(api, events=len(ledger.acked) + chunks)
    verdicts.equal_a_fresh_rebuild(api)


def wanted(documents: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each document with the number of each of its chunks."""
    return itertools.product(documents, range(SHORT))
