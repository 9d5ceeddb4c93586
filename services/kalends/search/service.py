"""The search service as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kalends.domain.canaries import Verdict
from kalends.edge.operations import Operation
from kalends.edge.progress import Progress
from kalends.edge.services import Service
from kalends.kit.traffic import Traffic
from kalends.ports.calendar import Calendar
from kalends.ports.clock import Clock
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.log import Log
from kalends.ports.models import Embedder, Reranker, Tokenizer
from kalends.ports.phrases import TimePhrases
from kalends.ports.timeline import Timeline
from kalends.ports.vectors import VectorIndex
from kalends.search import calendar_routes, canary_routes, feedback, routes
from kalends.search.arms import Arms, Observe
from kalends.search.calendar import ReadCalendar
from kalends.search.canaries import AskCanaries, KeepCanaries, Ports
from kalends.search.hydration import Hydrator
from kalends.search.reading import ReadMemories
from kalends.search.recalling import RecallFarPast
from kalends.search.targets import FindGrips, FindNodes, FindTargets, NodeHydrator
from kalends.search.usecases import FindMemories
from kalends.settings import SearchSettings
from kalends.wire.canaries import CanaryStore
from kalends.wire.documents import DocumentStore
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.node_store import NodeStore
from kalends.wire.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The service's rows, and the task ``canary-questions``."""

    operations: Sequence[Operation]
    ask_canaries: AskCanaries

    @property
    def service(self) -> Service:
        """The service; it has no loop of its own."""
        return Service(name="search", operations=self.operations)


def build(
    settings: SearchSettings,
    *,
    log: Log,
    timeline: Timeline,
    calendar: Calendar,
    nodes: NodeStore,
    reader: Reader,
    lexicon: LexicalIndex,
    vectors: VectorIndex,
    embedder: Embedder,
    reranker: Reranker | None = None,
    tokenizer: Tokenizer,
    memories: MemoryRegistry,
    documents: DocumentStore,
    canaries: CanaryStore,
    progress: Progress,
    phrases: TimePhrases,
    clock: Clock,
    traffic: Traffic,
    observe: Observe,
    count_feedback: feedback.Count,
    count_canary: Callable[[Verdict], None],
    hidden: HiddenView | None = None,
) -> Search:
    """Search from its settings and ports."""
    hydrator = Hydrator(source=log, timeline=timeline, reader=reader, hidden=hidden)
    arms = Arms(lexicon=lexicon, vectors=vectors, embedder=embedder, reranker=reranker, settings=settings, observe=observe)
    find = FindMemories(
        arms=arms,
        timeline=timeline,
        hydrator=hydrator,
        memories=memories,
        progress=progress,
        phrases=phrases,
        clock=clock,
        settings=settings,
    )
    find_nodes = FindNodes(
        arms=arms,
        timeline=timeline,
        hydrator=NodeHydrator(calendar=calendar, nodes=nodes),
        memories=memories,
        progress=progress,
        phrases=phrases,
        clock=clock,
        settings=settings,
        follows="toc",
    )
    targets = FindTargets(memories=find, nodes=find_nodes, grips=FindGrips(find=find, calendar=calendar, nodes=nodes))
    recall = RecallFarPast(find=find_nodes, calendar=calendar, nodes=nodes, clock=clock)
    read = ReadMemories(timeline=timeline, hydrator=hydrator, memories=memories, find=find, tokenizer=tokenizer, clock=clock, recall=recall)
    toc = ReadCalendar(calendar=calendar, nodes=nodes, timeline=timeline, hydrator=hydrator, memories=memories, clock=clock)
    texts = routes.DocumentRoutes(documents=documents, memories=memories, hidden=hidden)
    rows = routes.operations(routes.SearchRoutes(find=targets, read=read), routes.EventRoutes(read=read), texts)
    rows += calendar_routes.operations(calendar_routes.CalendarRoutes(read=toc))
    rows += feedback.operations(feedback.FeedbackRoutes(read=read, memories=memories, count=count_feedback))
    ports = Ports(store=canaries, timeline=timeline, hydrator=hydrator, memories=memories, clock=clock)
    rows += canary_routes.operations(canary_routes.CanaryRoutes(canaries=KeepCanaries(ports, hidden=hidden)))
    return Search(operations=rows, ask_canaries=AskCanaries(ports, find=targets, traffic=traffic, observe=count_canary))
