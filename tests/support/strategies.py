"""Strategies: how hypothesis draws values of the domain. One module, so that every property test means the same by "any text"."""

import uuid
from datetime import UTC, datetime

from hypothesis import strategies as st

from kalends.domain.events import Event, EventId, Facets, moment, new_ulid
from kalends.domain.scope import MemoryName, Scope, Tenant

SENDABLE = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
"""Every character that a caller may send: all but NUL and surrogates."""

TEXTS = st.text(SENDABLE, min_size=1, max_size=60)
ANY_TEXTS = st.text(st.characters(), max_size=60)
"""Also what must be refused: NUL and lone surrogates."""

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
SEQUENCES = st.integers(min_value=1, max_value=(1 << 48) - 1)
INTEGERS = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
METADATA = st.dictionaries(TEXTS, SCALARS, max_size=4)


def scopes() -> st.SearchStrategy[Scope]:
    """Any tenant and memory."""
    return st.builds(lambda tenant, memory: Scope(Tenant(tenant), MemoryName(memory)), NAMES, NAMES)


def event_ids() -> st.SearchStrategy[EventId]:
    """ULIDs of any time since 1970 and UUIDs of any version, in their canonical spelling."""
    since_1970 = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
    ulids = st.builds(lambda now, randomness: new_ulid(now, randomness=randomness), since_1970, st.binary(min_size=10, max_size=10))
    return ulids | st.uuids().map(lambda value: EventId(str(value)))


def facets() -> st.SearchStrategy[Facets]:
    """Facets as an event may have them."""
    maybe = st.none() | TEXTS
    return st.builds(
        Facets, session_id=TEXTS, kind=TEXTS, role=TEXTS, actor=maybe, channel=maybe, thread_id=maybe, priority=maybe, metadata=METADATA
    )


def events() -> st.SearchStrategy[Event]:
    """Events as the domain may hold them, with every kind of metadata; the epoch itself is no time at which one can expire."""
    maybe = st.none() | TEXTS
    return st.builds(
        Event,
        id=event_ids(),
        facets=facets(),
        text=st.text(SENDABLE, max_size=60),
        occurred_at=MOMENTS,
        recorded_at=MOMENTS,
        dated=st.booleans(),
        expires_at=st.none() | MOMENTS.filter(lambda when: when != moment(0)),
        trust=maybe,
        document_id=maybe,
    )


def uuid7(milliseconds: int) -> str:
    """A UUIDv7 of that time, which Python 3.11 cannot make."""
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62))
