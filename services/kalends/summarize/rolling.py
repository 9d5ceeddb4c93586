"""Rolling: a period's children to its node.

Belongs here: reading the children, and whether the period needs a new version. Does not belong here: what to say (``ports.summarizer``). A
newcomer would get wrong: a period is made of its children's lines and cites their grips, so its evidence is never further away than
theirs; and its inputs are what the children *say*, so children that were written again in the same words change nothing.
"""

import hashlib
from collections.abc import Sequence

from kalends.domain.calendar import CHILDREN_NAMED, UNTOLD, Grip, Material, Node, Passage, Summary, cited
from kalends.domain.scope import Scope
from kalends.ports.calendar import Calendar, DuePeriod, KnownNode
from kalends.ports.summarizer import Summarizer
from kalends.wire.node_store import NodeStore, Proposed

_PAGE = 500


class RollPeriods:
    """Days, weeks, months and years."""

    def __init__(self, *, calendar: Calendar, store: NodeStore, summarizer: Summarizer) -> None:
        self._calendar = calendar
        self._store = store
        self._summarizer = summarizer

    async def __call__(self, due: DuePeriod) -> Proposed | None:
        """The period's node as its children are now; None if it is as it should be.

        Raises:
            Unavailable, DeadlineExceeded: a store or a model is away; the period stays due.
        """
        before = (await self._calendar.newest(due.scope, [due.period])).get(due.period)
        children = await self._children(due)
        if not children:
            if before is None or before.gone:
                return None
            node = Node(period=due.period, first_us=before.first_us, last_us=before.last_us, gone=True)
            return Proposed(node=node, newest=before)
        inputs = self._inputs(children)
        if before is not None and not before.gone and before.inputs == inputs and not due.forced:
            return None
        return Proposed(node=await self._written(due, children, inputs), newest=before)

    async def _children(self, due: DuePeriod) -> list[KnownNode]:
        found: list[KnownNode] = []
        while True:
            after = found[-1].period if found else None
            page = await self._calendar.children(due.scope, due.period, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found

    def _inputs(self, children: Sequence[KnownNode]) -> str:
        named = "\0".join([self._summarizer.identity, *(f"{child.period.id} {child.content_mac.hex()}" for child in children)])
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    async def _written(self, due: DuePeriod, children: Sequence[KnownNode], inputs: str) -> Node:
        passages: list[Passage] = []
        grips: dict[str, tuple[Grip, ...]] = {}
        agents: set[str] = set()
        for node in await self._read(due.scope, children):
            agents.update(node.agents)
            for bullet in node.bullets:
                key = f"{len(passages)}"
                first = bullet.grips[0]
                passages.append(Passage(key=key, speaker=first.speaker, text=bullet.text, occurred_us=first.occurred_us))
                grips[key] = bullet.grips
        summary = Summary(title=UNTOLD, claims=(), keywords=(), author=self._summarizer.identity)
        if passages:
            summary = await self._summarizer.summarize(Material(period=due.period, passages=tuple(passages)), memory=due.scope.key)
        return Node(
            period=due.period,
            title=summary.title,
            bullets=cited(summary.claims, grips),
            keywords=summary.keywords,
            children=tuple(child.period.id for child in children[:CHILDREN_NAMED]),
            event_count=sum(child.event_count for child in children),
            first_us=min(child.first_us for child in children),
            last_us=max(child.last_us for child in children),
            agents=tuple(sorted(agents)),
            author=summary.author,
            degraded=summary.degraded,
            inputs=inputs,
        )

    async def _read(self, scope: Scope, children: Sequence[KnownNode]) -> list[Node]:
        found: list[Node] = []
        for start in range(0, len(children), _PAGE):
            opened = await self._store.read(scope, [child.position for child in children[start : start + _PAGE]])
            found += [one.node for one in opened if one is not None]
        return found
