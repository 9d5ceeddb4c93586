"""Values for the suite of the port ``calendar``: nodes and touches as the calendar learns them.

Belongs here: builders. Does not belong here: tests. A newcomer would get wrong: what a node says is its ``words``; two versions with the
same words have the same content mac, as sealed ones have.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import strategies as st
from tests.contracts.projections import OTHER, SCOPE

from kalends.domain.calendar import Bullet, Node, grip_of
from kalends.domain.events import EventId
from kalends.domain.periods import Period, period_of
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.ports.calendar import NodeStored, Touched, Unit
from kalends.wire.nodes import node_key, substance
from kalends.wire.reader import OpenedNode

DAY = date(2026, 1, 30)
DAY_US = 1_769_731_200_000_000
"""The first moment of that day."""

HOUR_US = 3_600_000_000
EVERY = ("toc:year:2026", "toc:month:2026-01", "toc:week:2026-W05", "toc:day:2026-01-30")
"""The day's node and what stands above it."""

YEAR, MONTH, WEEK, DAY_NODE = (period_of(name) for name in EVERY)


def segment(name: str, *, day: date = DAY) -> Period:
    """The segment of a one-letter name."""
    return Period("segment", day, f"{ord(name):016x}")


def opened(
    period: Period | str,
    words: str = "words",
    *,
    version: int = 1,
    scope: Scope = SCOPE,
    at_us: int | None = None,
    session: str = "s",
    grips: Sequence[str] = (),
    recorded_us: int | None = None,
    **changes: object,
) -> OpenedNode:
    """A version of a node; each of *grips* is the name of the event that it is of, and of its excerpt."""
    place = period_of(period) if isinstance(period, str) else period
    start = DAY_US + (place.first - DAY) // timedelta(days=1) * 24 * HOUR_US if at_us is None else at_us
    evidence = [
        grip_of(f"said {name}", first=EventId(name), last=EventId(name), session_id=session, occurred_us=start, speaker="ada")
        for name in grips
    ]
    node = Node(
        period=place,
        title=words,
        bullets=(Bullet(text=words, grips=tuple(evidence)),) if evidence else (),
        keywords=(),
        children=(),
        events=(),
        event_count=1,
        first_us=start,
        last_us=start + 1,
        agents=(),
        session_id=session if place.level == "segment" else "",
        author="extractive",
        degraded="",
        inputs=f"made of {version}",
    )
    node = replace(node, **changes)
    return OpenedNode(
        scope=scope,
        key=node_key(scope, place),
        position=Position("EVENTS_0", version),
        node=node,
        content_mac=substance(node)[:16].ljust(16) + bytes([node.gone]) + node.degraded.encode() + words.encode(),
        recorded_us=version if recorded_us is None else recorded_us,
    )


def stored(period: Period | str, words: str = "words", **changes: object) -> NodeStored:
    """The same as the calendar learns it."""
    return opened(period, words, **changes).stored()  # type: ignore[arg-type]  # handed on as they are


def id_of(name: str) -> str:
    """The id of the grip of the event called *name*."""
    return grip_of(f"said {name}", first=EventId(name), last=EventId(name), session_id="", occurred_us=0, speaker="").id


def unit(session: str = "s", *, day: date = DAY, scope: Scope = SCOPE) -> Unit:
    """A session's day."""
    return Unit(scope=scope, session_id=session, day=day)


def touched(
    session: str = "s", *, version: int, day: date = DAY, scope: Scope = SCOPE, at_us: int | None = None, recorded_us: int | None = None
) -> Touched:
    """An event of a session's day came with the message of that version, at noon if nothing else is said."""
    noon = DAY_US + (day - DAY) // timedelta(days=1) * 24 * HOUR_US + 12 * HOUR_US
    return Touched(
        unit=unit(session, day=day, scope=scope),
        version=version,
        occurred_us=noon if at_us is None else at_us,
        recorded_us=version if recorded_us is None else recorded_us,
    )


_WORDS = st.sampled_from(["one", "two"])
_NODES = st.tuples(st.sampled_from([DAY_NODE, WEEK, segment("a"), segment("b")]), _WORDS, st.booleans(), st.sets(st.sampled_from("efg")))
_TOUCHES = st.tuples(st.sampled_from("st"), st.integers(0, 3))
LOG = st.lists(st.tuples(st.sampled_from([SCOPE, OTHER]), _NODES | _TOUCHES), max_size=24)
"""What a log says, message after message; ``messages`` makes them."""


def messages(drawn: Sequence[tuple]) -> list[NodeStored | Touched]:
    """A log: each message at the next place, recorded when it came."""
    found: list[NodeStored | Touched] = []
    for version, (scope, one) in enumerate(drawn, start=1):
        if len(one) == 2:
            found.append(touched(one[0], version=version, scope=scope, at_us=DAY_US + one[1]))
            continue
        period, words, gone, grips = one
        cited = sorted(grips) if period.level == "segment" and not gone else ()
        found.append(stored(period, words, version=version, scope=scope, gone=gone, grips=cited))
    return found
