"""Opening what a backup has of one memory: which messages belong to a state, and what they say.

Belongs here: what is left out and why, and a memory's state at a time. Does not belong here: where the state is put (``restoring``). A
newcomer would get wrong: a message is judged by when it was recorded, by our clock, and never by when it says that it happened.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from kalends.domain.backups import Gone, State
from kalends.domain.calendar import Node
from kalends.domain.errors import Damaged
from kalends.domain.events import Event, EventId, event_key
from kalends.domain.queries import tag
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.wire import envelopes, nodes
from kalends.wire.envelopes import Retraction, Sealed

_EQUAL = aead.Box(bytes(aead.KEY_BYTES))
"""A key that is none: for digests that are compared at once and kept nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A message that belongs to a state, at its ``place`` among these (from 0)."""

    place: int
    sealed: Sealed
    content: Event | Retraction | Node


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many messages were taken, and left out, by why."""

    taken: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """One line for people."""
        told = [f"{self.taken['events']} events", f"{self.taken['nodes']} nodes"]
        words = {"later": "recorded later", "erased": "erased", "unreadable": "without a key", "damaged": "damaged"}
        told += [f"{self.left[why]} {word}" for why, word in words.items() if self.left[why]]
        return ", ".join(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """Decides which messages of the memory *scope* belong to its state at ``to_us`` (None: all), and opens them with ``boxes``."""

    scope: Scope
    gone: Gone
    boxes: Mapping[str, aead.Box]
    to_us: int | None = None

    async def through(self, messages: AsyncIterator[Sealed | None], tally: Tally) -> AsyncIterator[Opened]:
        """Those that belong, in order."""
        place = 0
        async for sealed in messages:
            if sealed is None:
                tally.left["damaged"] += 1
                continue
            if sealed.is_erasure:
                continue
            found = self._open(sealed)
            if isinstance(found, str):
                tally.left[found] += 1
                continue
            tally.taken[_kind(found)] += 1
            yield Opened(place=place, sealed=sealed, content=found)
            place += 1

    def _open(self, sealed: Sealed) -> Event | Retraction | Node | str:
        """What a message says, or why it is left out."""
        if self.to_us is not None and sealed.recorded_us > self.to_us:
            return "later"
        if sealed.event_id is not None and self._is_gone(sealed.event_id, None, sealed):
            return "erased"
        box = self.boxes.get(sealed.key_reference)
        if box is None:
            return "unreadable"
        try:
            content = envelopes.unseal(sealed, box)
        except Damaged:
            return "damaged"
        return "erased" if self._was_erased(content, sealed) else content

    def _was_erased(self, content: Event | Retraction | Node, sealed: Sealed) -> bool:
        if isinstance(content, Event):
            return self._is_gone(content.id, tag("session_id", content.facets.session_id), sealed)
        return isinstance(content, Node) and self._rests_on_gone(content, sealed)

    def _is_gone(self, event_id: EventId, session: str | None, sealed: Sealed) -> bool:
        return self.gone.has_event(event_key(self.scope, event_id), session=session, recorded_us=sealed.recorded_us)

    def _rests_on_gone(self, node: Node, sealed: Sealed) -> bool:
        if self.gone.has_node(nodes.node_key(self.scope, node.period), recorded_us=sealed.recorded_us):
            return True
        named = {one for bullet in node.bullets for grip in bullet.grips for one in (grip.first, grip.last)}
        return any(event_key(self.scope, one) in self.gone.events for one in named.union(node.events))


def note(state: State, opened: Opened) -> None:
    """Let *state* go on by one message."""
    content = opened.content
    if isinstance(content, Event):
        state.wrote(content.id, content=envelopes.content_mac(content, _EQUAL), place=opened.place)
    elif isinstance(content, Retraction):
        state.took_back(content.event_ids)


def _kind(content: Event | Retraction | Node) -> str:
    if isinstance(content, Event):
        return "events"
    return "nodes" if isinstance(content, Node) else "retractions"
