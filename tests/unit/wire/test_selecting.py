"""Selecting: which events of a timeline are meant, live and taken back alike, in pieces."""

from types import SimpleNamespace

import pytest

from kalends.domain.erasures import Selector
from kalends.domain.events import EventId, event_key
from kalends.domain.positions import Position
from kalends.domain.queries import Held
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.timeline import Known
from kalends.wire import selecting
from kalends.wire.selecting import Select, Selection

HERE = Scope(Tenant("acme"), MemoryName("notes"))


def known(name: str, *, session: str = "s", at: int = 0, retracted: bool = False, erased: bool = False) -> Known:
    """An event as a timeline knows it."""
    event_id = EventId(name)
    return Known(
        key=event_key(HERE, event_id),
        event_id=event_id,
        position=Position("EVENTS_0", at + 1),
        content_mac=b"",
        occurred_us=at,
        session=session,
        retracted=retracted or erased,
        erased=erased,
    )


class Timeline:
    """What selecting asks of one; every live event has the tags that are asked for, if its name says so."""

    def __init__(self, *events: Known) -> None:
        self.events = {one.key: one for one in events}

    async def inventory(self, scope_key, *, after, limit):
        keys = [key for key in sorted(self.events) if after is None or key > after][:limit]
        return [Held(key=key, version=1, live=not self.events[key].retracted) for key in keys]

    async def lookup(self, scope, keys):
        return {key: self.events[key] for key in keys if key in self.events}

    async def matching(self, scope, keys, *, criteria):
        return frozenset(key for key in keys if self.events[key].event_id.startswith("ann"))


async def chosen(selector: Selector, *events: Known) -> list[str]:
    """The names that a selector means."""
    source = SimpleNamespace(read=nothing)
    select = Select(timeline=Timeline(*events), source=source, reader=SimpleNamespace(open=nothing))
    return sorted([one.event_id async for piece in select.pieces(HERE, selector) for one in piece])


async def nothing(_):
    """No message is there any more."""
    return []


EVENTS = (known("a", at=1), known("b", session="t", at=2), known("c", at=3, retracted=True), known("d", at=4, erased=True))


@pytest.mark.parametrize("piece", [1, 2, 500])
async def test_what_was_taken_back_is_meant_and_what_is_erased_already_is_not(piece, monkeypatch):
    """However small the pieces are."""
    monkeypatch.setattr(selecting, "PIECE", piece)

    assert await chosen(Selector(kind="everything"), *EVENTS) == ["a", "b", "c"]
    assert await chosen(Selector(kind="session_id", session="s"), *EVENTS) == ["a", "c"]
    assert await chosen(Selector(kind="range", since_us=2, until_us=4), *EVENTS) == ["b", "c"]
    assert await chosen(Selector(kind="event_ids", event_ids=(EventId("a"), EventId("d"), EventId("x"))), *EVENTS) == ["a"]


async def test_what_only_the_content_tells_is_asked_of_the_timelines_tags():
    """For what is live; of what was taken back only its message would tell."""
    events = (known("ann-1"), known("bob-1"), known("ann-2", retracted=True))

    assert await chosen(Selector(kind="actor", actor="ann"), *events) == ["ann-1"]


async def test_a_plan_is_numbers_only():
    """Documents are sessions of their own."""
    select = Select(timeline=Timeline(*EVENTS, known("e", session="document:d")), source=None, reader=None)

    assert await select.count(HERE, Selector(kind="everything")) == Selection(events=4, sessions=2, documents=1)
