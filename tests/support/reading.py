"""The search service over real engines, as a process wires it, and nodes written by hand.

Belongs here: calling the service's rows without a transport, and putting nodes into the log. Does not belong here: summarizing
(``calendars``). A newcomer would get wrong: answers are encoded and decoded, so that a test sees what a caller does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kalends.domain.calendar import Bullet, Grip, Node, grip_of
from kalends.domain.credentials import Principal
from kalends.domain.events import Event, EventId, microseconds
from kalends.domain.periods import Period, day_of, period_of
from kalends.domain.scope import Scope
from kalends.edge import decoding, dispatch
from kalends.edge.operations import Call, Operation
from kalends.kit.traffic import Traffic
from kalends.search import service
from kalends.wire.hidden import HiddenView
from kalends.wire.node_store import Proposed
from tests.support.engines import SCOPE, Engines


class Search:
    """The rows of the search service; ``status`` and ``headers`` are of the last answer."""

    def __init__(self, made: Engines, *, hidden: HiddenView | None = None) -> None:
        books = made.ledger
        built = service.build(
            made.settings,
            log=books.log,
            timeline=books.timeline,
            calendar=books.calendar,
            nodes=books.nodes,
            reader=books.reader,
            lexicon=made.lexicon,
            vectors=made.vectors,
            embedder=made.embedder,
            tokenizer=books.tokenizer,
            memories=books.memories,
            documents=books.documents,
            canaries=books.canaries,
            progress=books.progress,
            phrases=made.phrases,
            clock=books.clock,
            traffic=Traffic(),
            observe=lambda arm, _: made.observed.append(arm),
            count_feedback=lambda *_: None,
            count_canary=made.verdicts.append,
            hidden=hidden,
        )
        self.rows: Mapping[str, Operation] = {row.name: row for row in built.operations}
        self.ask_canaries = built.ask_canaries
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def ask(
        self,
        name: str,
        path: Mapping[str, str] | None = None,
        *,
        scope: Scope = SCOPE,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        **query: object,
    ) -> Any:
        """What the row *name* answers, as JSON values; *query* is given as a URL gives it."""
        row = self.rows[name]
        given = {key: str(value) for key, value in query.items()}
        call = Call(
            principal=Principal(token_id="t", tenant=scope.tenant, memories=None, rights=frozenset({"search"}), labels=None),
            scope=scope,
            path=path or {},
            query=dispatch.query(row, given),
            body=None if row.body is None else decoding.body_of(msgspec.json.Decoder(row.body), msgspec.json.encode(body)),
            raw=b"",
            headers=headers or {},
            request_id="r",
            deadline=0.0,
        )
        answer = await row.handle(call)
        self.status, self.headers = answer.status or row.status, answer.headers
        return None if answer.body is None else msgspec.json.decode(msgspec.json.encode(answer.body))

    async def search(self, query: str, *targets: str, **options: Any) -> Any:
        """Hits and all, with plenty of time."""
        body = {"query": query, "timeout_ms": 20_000, **({"targets": list(targets)} if targets else {}), **options}
        return await self.ask("search", body=body)

    async def listed(self, name: str, path: Mapping[str, str] | None = None, *, limit: int, **query: object) -> list[Any]:
        """Every item of a list, page by page."""
        page = await self.ask(name, path, limit=limit, **query)
        found = list(page["items"])
        while page["next_cursor"] is not None:
            assert len(page["items"]) <= limit
            page = await self.ask(name, path, limit=limit, cursor=page["next_cursor"], **query)
            found += page["items"]
        return found


def proof(first: Event, last: Event | None = None, *, excerpt: str | None = None) -> Grip:
    """The grip of an event's text, or of a piece of it."""
    facets = first.facets
    return grip_of(
        excerpt or first.text,
        first=first.id,
        last=(last or first).id,
        session_id=facets.session_id,
        occurred_us=microseconds(first.occurred_at),
        speaker=facets.actor or facets.role,
    )


def node(period: Period | str, title: str, lines: Mapping[str, Sequence[Grip]], *, first: Event, last: Event, **changes: Any) -> Node:
    """A node with these lines, from *first* to *last*."""
    place = period_of(period) if isinstance(period, str) else period
    plain = {
        "period": place,
        "title": title,
        "bullets": tuple(Bullet(text=text, grips=tuple(grips)) for text, grips in lines.items()),
        "keywords": (),
        "event_count": 1,
        "first_us": microseconds(first.occurred_at),
        "last_us": microseconds(last.occurred_at),
        "agents": (first.facets.actor or "",),
        "session_id": first.facets.session_id if place.level == "segment" else "",
        "author": "by hand",
    }
    return Node(**{**plain, **changes})


def segment(title: str, lines: Mapping[str, Sequence[Grip]], events: Sequence[Event], *, name: str = "0" * 16, **changes: Any) -> Node:
    """A segment of *events*."""
    period = Period("segment", day_of(events[0].occurred_at).first, name)
    ids = tuple(EventId(one.id) for one in events)
    return node(period, title, lines, first=events[0], last=events[-1], **{"events": ids, "event_count": len(ids), **changes})


async def write(made: Engines, *nodes: Node, scope: Scope = SCOPE) -> None:
    """Append *nodes*, and wait until the calendar knows them and every projection has them."""
    books = made.ledger
    known = await books.calendar.newest(scope, [one.period for one in nodes])
    proposed = [Proposed(node=one, newest=known.get(one.period)) for one in nodes]
    written = await books.nodes.append(scope, proposed, since=await books.nodes.erasures_known())
    assert await books.progress.reached(written.floors, ("timeline", "toc"), seconds=20)
    await made.caught_up()
