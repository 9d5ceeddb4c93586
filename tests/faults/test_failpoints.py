"""kill -9 at every named place: between a request and its ack, between fetch and ack of each consumer, in the timeline, in a rebuild."""

import ast
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN, Ledger, an_event

import kalends

SOURCES = Path(kalends.__file__).parent
PROJECTIONS = ("lexical", "vector")
MEMORY = "faults"
EVENTS = 24

Act = Callable[[Instance, Ledger], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a failpoint is reached: what is done with it armed, what is armed beside it, and what is done before and after it."""

    act: Act
    beside: str = ""
    before: Act | None = None
    hit: int = 1
    after: Act | None = None
    chunks: int = 0
    """Live chunks of documents at the end."""


def write(instance: Instance, ledger: Ledger) -> None:
    """Write a batch until it is acked or nobody answers; the same events every time."""
    source = random.Random(MEMORY)
    events = [an_event(source, session="one") for _ in range(EVENTS)]
    for number, event in enumerate(events):
        event["event_id"] = f"01JB0000000000000000{number:06d}"
    until_acked(instance, ledger, events)


def write_twice(instance: Instance, ledger: Ledger) -> None:
    """Write the same again before the timeline knows of it: the broker finds the repetition, and each event is sent alone."""
    write(instance, ledger)
    write(instance, ledger)


def write_often(instance: Instance, ledger: Ledger) -> None:
    """Write batch after batch."""
    source = random.Random(0)
    for _ in range(3):
        until_acked(instance, ledger, [an_event(source, session="two") for _ in range(EVENTS)])
    write(instance, ledger)


def rebuild(instance: Instance, _: Ledger) -> None:
    """Ask for a rebuild of everything."""
    with verdicts.api_of(instance) as api:
        api.good("POST", "/admin/reindexes", {"projection": "all"})


def keep_document(instance: Instance, _: Ledger) -> None:
    """Keep a document, until it is kept or nobody answers."""
    keep(instance, "".join(f"# Heading {number}\n\nThe river rose by {number} feet.\n\n" for number in range(12)))


def replace_document(instance: Instance, _: Ledger) -> None:
    """Keep another text under the same name."""
    keep(instance, "".join(f"# Title {number}\n\nThe river fell by {number} feet.\n\n" for number in range(7)))


def until_acked(instance: Instance, ledger: Ledger, events: list[dict[str, object]]) -> None:
    """Send *events* until they are acked, or the instance is gone."""
    with verdicts.api_of(instance) as api:
        acked = wait_until(lambda: not instance.running or _acked(api, ledger, events), seconds=30)
    assert acked, instance.last_words


def _acked(api: Api, ledger: Ledger, events: list[dict[str, object]]) -> bool:
    try:
        reply = api.append(MEMORY, events)
    except Away:
        return False
    if reply.status in {200, 202}:
        ledger.note(events, reply.body["results"])
        return True
    assert reply.status in AGAIN, reply
    return False


def keep(instance: Instance, text: str) -> None:
    """Keep *text* as the document, until it is kept or the instance is gone."""

    def kept() -> bool:
        try:
            reply = api.ask("POST", f"/memories/{MEMORY}/documents", {"document_id": "river", "text": text})
        except Away:
            return False
        assert reply.status in {202, *AGAIN}, reply
        return reply.status == 202

    with verdicts.api_of(instance) as api:
        assert wait_until(lambda: not instance.running or kept(), seconds=30), instance.last_words


DOCUMENT = Scenario(act=replace_document, before=keep_document, after=replace_document, chunks=7)
SCENARIOS: Mapping[str, Scenario] = {
    "ingest.before-append": Scenario(act=write),
    "ingest.after-append": Scenario(act=write),
    "log.before-commit": Scenario(act=write),
    "log.before-answer": Scenario(act=write),
    "log.after-commit": Scenario(act=write),
    "log.before-single-answers": Scenario(act=write_twice, beside="timeline.before-put=stall"),
    "documents.after-record": DOCUMENT,
    "documents.after-chunks": DOCUMENT,
    "documents.after-retract": DOCUMENT,
    "index.lexical.after-fetch": Scenario(act=write),
    "index.lexical.before-ack": Scenario(act=write),
    "index.lexical.after-ack": Scenario(act=write),
    "index.vector.after-fetch": Scenario(act=write),
    "index.vector.after-embed": Scenario(act=write),
    "index.vector.before-ack": Scenario(act=write),
    "index.vector.after-ack": Scenario(act=write),
    "timeline.before-put": Scenario(act=write_often, hit=2),
    "timeline.after-put": Scenario(act=write_often, hit=2),
    "rebuild.before-switch": Scenario(act=rebuild, before=write),
    "rebuild.after-switch": Scenario(act=rebuild, before=write, hit=2),
}


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


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_nothing_is_lost_or_doubled_by_a_kill_at(name: str, instance: Instance) -> None:
    """The process dies at the place; after a restart and the same requests again everything is there once, as a rebuild says too."""
    scenario, ledger = SCENARIOS[name], Ledger()
    with verdicts.api_of(instance) as api:
        if scenario.before is not None:
            instance.start()
            api.make_memory(MEMORY)
            scenario.before(instance, ledger)
            api.quiet()
            instance.kill()
        armed = ",".join(filter(None, (scenario.beside, f"{name}=kill@{scenario.hit}")))
        instance.start({"KALENDS_FAILPOINTS": armed})
        api.make_memory(MEMORY)
        scenario.act(instance, ledger)

        assert instance.wait() == -signal.SIGKILL
        instance.start()
        (scenario.after or write)(instance, ledger)
        api.quiet()

        check(instance, api, ledger, chunks=scenario.chunks)


def check(instance: Instance, api: Api, ledger: Ledger, *, chunks: int) -> None:
    """The invariants, with and without documents."""
    if chunks:
        listed = [event for event in api.events(MEMORY) if event.get("document_id")]
        assert len({event["event_id"] for event in listed}) == len(listed) == chunks
        assert len({event["text"] for event in listed}) == chunks
    else:
        verdicts.nothing_lost(instance, ledger, memory=MEMORY, by_id=False)
        verdicts.logged_once(instance, ledger)
    verdicts.projections_agree(api, events=len(ledger.acked) + chunks)
    verdicts.equal_a_fresh_rebuild(api)
