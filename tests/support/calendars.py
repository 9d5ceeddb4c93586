"""The calendar over a real log: keeping it, walking it, and what must hold of every line of it.

Belongs here: the walk that every check of the calendar shares. Does not belong here: what is tested. A newcomer would get wrong: the walk
goes through the years down to the events, as a reader does, and never asks which nodes there are.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import date

from kalends.domain.calendar import Node
from kalends.domain.events import EventId
from kalends.domain.periods import Period
from kalends.domain.scope import Scope
from kalends.domain.segments import Cutting
from kalends.kit.traffic import Traffic
from kalends.ports.calendar import Calendar, KnownNode, Unit
from kalends.ports.clock import Clock
from kalends.ports.summarizer import Summarizer
from kalends.summarize.extractive import ExtractiveSummarizer
from kalends.summarize.rolling import RollPeriods
from kalends.summarize.segmenting import CutUnits
from kalends.summarize.usecases import KeepCalendar, Timing
from kalends.wire.node_store import NodeStore
from tests.support.engines import SCOPE, Ledger, shared_embedder

QUIET = Timing(silence_s=1800.0, settle_s=0.0)


def keeping(
    books: Ledger,
    summarizer: Summarizer | None = None,
    *,
    cutting: Cutting | None = None,
    timing: Timing = QUIET,
    clock: Clock | None = None,
) -> KeepCalendar:
    """Summarize as it is wired in a process, over *books*; by default extractive, with the embedded model."""
    writer = summarizer or ExtractiveSummarizer(shared_embedder())
    cut = CutUnits(
        calendar=books.calendar,
        timeline=books.timeline,
        source=books.log,
        reader=books.reader,
        summarizer=writer,
        tokenizer=books.tokenizer,
        clock=clock or books.clock,
        cutting=cutting or Cutting(),
    )
    return KeepCalendar(
        calendar=books.calendar,
        cut=cut,
        roll=RollPeriods(calendar=books.calendar, store=books.nodes, summarizer=writer),
        store=books.nodes,
        progress=books.progress,
        clock=clock or books.clock,
        traffic=Traffic(),
        timing=timing,
    )


@dataclass(kw_only=True)
class Walked:
    """What a walk met: nodes by id with their newest version's number, and the events in the order of the walk."""

    nodes: dict[str, Node] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    events: list[EventId] = field(default_factory=list)

    def same(self) -> dict[str, Node]:
        """The nodes as any two runs over one log must have them: without what versions went before."""
        return {name: replace(node, inputs="") for name, node in self.nodes.items()}


async def walk(calendar: Calendar, store: NodeStore, *, scope: Scope = SCOPE) -> Walked:
    """Walk the calendar from its years down to its events."""
    walked = Walked()
    async for known in _down(calendar, scope, list(await calendar.years(scope))):
        (opened,) = await store.read(scope, [known.position])
        assert opened is not None, known.period.id
        assert known.period.id not in walked.nodes, "a node stands in two places"
        walked.nodes[known.period.id] = opened.node
        walked.numbers[known.period.id] = known.number
        walked.events += opened.node.events
    return walked


async def _down(calendar: Calendar, scope: Scope, level: list[KnownNode]) -> AsyncIterator[KnownNode]:
    for known in level:
        yield known
        async for below in _down(calendar, scope, list(await calendar.children(scope, known.period, limit=10_000))):
            yield below


def check_evidence(walked: Walked, texts: dict[EventId, str]) -> None:
    """Every bullet of every node has evidence, and every excerpt stands in its event, which lies in the node."""
    for name, node in walked.nodes.items():
        within = events_of(walked, node)
        for bullet in node.bullets:
            assert bullet.text, name
            assert bullet.grips, name
            for grip in bullet.grips:
                assert grip.excerpt, name
                assert grip.excerpt in texts[grip.first], (name, grip.id)
                assert {grip.first, grip.last} <= within, (name, grip.id)


def events_of(walked: Walked, node: Node) -> set[EventId]:
    """Every event below *node*."""
    if node.period.level == "segment":
        return set(node.events)
    return {event for child in node.children for event in events_of(walked, walked.nodes[child])}


def unit(session_id: str, day: date, *, scope: Scope = SCOPE) -> Unit:
    """A session's day."""
    return Unit(scope=scope, session_id=session_id, day=day)


def ancestors(day: date) -> set[str]:
    """The ids of a day and of everything above it."""
    return {period.id for period in Period("segment", day).ancestors}
