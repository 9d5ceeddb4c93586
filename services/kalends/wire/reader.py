"""Reading the log: messages to opened values.

Belongs here: parse, fetch keys, open, and say what could not be. Does not belong here: what becomes of it. A newcomer would get wrong: a
message whose key is gone is ``Unreadable`` with ``erased`` set; that is lawful. One that is damaged is not.
"""

import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from kalends.domain.calendar import Node
from kalends.domain.errors import Damaged
from kalends.domain.events import Event, EventKey, event_key, indexed_text, lead, microseconds, speaker
from kalends.domain.positions import Position
from kalends.domain.queries import Entry, Tombstone, node_tags, tags_of
from kalends.domain.scope import Scope
from kalends.domain.versions import FOREVER
from kalends.kit import aead
from kalends.ports.calendar import NodesErased, NodeStored
from kalends.ports.log import Message
from kalends.ports.timeline import Erased, Retracted, TimelineEntry
from kalends.wire import envelopes, nodes
from kalends.wire.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEvent:
    """An event and where it is stored."""

    scope: Scope
    key: EventKey
    position: Position
    event: Event
    content_mac: bytes
    size: int

    @property
    def tags(self) -> tuple[str, ...]:
        """What filters may ask of it."""
        return tags_of(self.event.facets, target="documents" if self.event.document_id else "events")

    def entry(self) -> Entry:
        """The event as the search projections hold it."""
        return Entry(
            scope=self.scope,
            key=self.key,
            version=self.position.version,
            text=indexed_text(self.event),
            lead=lead(self.event),
            speaker=speaker(self.event.facets),
            tags=self.tags,
            occurred_us=microseconds(self.event.occurred_at),
        )

    def entries(self) -> list[Entry]:
        """What it adds to the search projections."""
        return [self.entry()]

    def tombstones(self) -> list[Tombstone]:
        """What it takes back: nothing."""
        return []

    def timeline_entry(self) -> TimelineEntry:
        """The event as the timeline holds it."""
        return TimelineEntry(
            scope=self.scope,
            key=self.key,
            event_id=self.event.id,
            position=self.position,
            content_mac=self.content_mac,
            occurred_us=microseconds(self.event.occurred_at),
            recorded_us=microseconds(self.event.recorded_at),
            facets=self.event.facets,
            tags=self.tags,
            size=self.size,
            length=len(self.event.text),
            document=self.event.document_id is not None,
            expires_us=None if self.event.expires_at is None else microseconds(self.event.expires_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRetraction:
    """Events taken back by the message at ``position``."""

    scope: Scope
    keys: tuple[EventKey, ...]
    position: Position
    recorded_us: int = 0

    def entries(self) -> list[Entry]:
        """What it adds to the search projections: nothing."""
        return []

    def tombstones(self) -> list[Tombstone]:
        """The retraction as the search projections take it."""
        return [Tombstone(scope=self.scope, key=key, version=self.position.version) for key in self.keys]

    def retracted(self) -> Retracted:
        """The retraction as the timeline takes it."""
        return Retracted(scope=self.scope, keys=self.keys, position=self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNode:
    """One version of a node of the calendar and where it is stored."""

    scope: Scope
    key: EventKey
    position: Position
    node: Node
    content_mac: bytes
    recorded_us: int

    def entries(self) -> list[Entry]:
        """The node as the search projections hold it, in the part of the memory that is its calendar; nothing for one that is gone."""
        node = self.node
        if node.gone:
            return []
        lines = [node.title, *(bullet.text for bullet in node.bullets), " ".join(node.keywords)]
        return [
            Entry(
                scope=self.scope.calendar,
                key=self.key,
                version=self.position.version,
                text=unicodedata.normalize("NFC", "\n".join(lines)),
                tags=node_tags(node.period.level),
                occurred_us=node.first_us,
                lead=node.period.label,
            )
        ]

    def tombstones(self) -> list[Tombstone]:
        """What a node that is gone takes back."""
        return [Tombstone(scope=self.scope.calendar, key=self.key, version=self.position.version)] if self.node.gone else []

    def stored(self) -> NodeStored:
        """The node as the calendar takes it."""
        node = self.node
        return NodeStored(
            scope=self.scope,
            key=self.key,
            period=node.period,
            position=self.position,
            content_mac=self.content_mac,
            inputs=node.inputs,
            session_id=node.session_id,
            first_us=node.first_us,
            last_us=node.last_us,
            event_count=node.event_count,
            degraded=node.degraded,
            gone=node.gone,
            recorded_us=self.recorded_us,
            grips=tuple(dict.fromkeys((grip.id, grip.first) for bullet in node.bullets for grip in bullet.grips)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedErasure:
    """Events and versions of nodes erased for ever by the message at ``position``."""

    scope: Scope
    position: Position
    recorded_us: int
    said: envelopes.Erased

    def entries(self) -> list[Entry]:
        """What it adds to the search projections: nothing."""
        return []

    def tombstones(self) -> list[Tombstone]:
        """The erasure as the search projections take it: no later write of an event counts, but one of a node does."""
        events = [Tombstone(scope=self.scope, key=key, version=FOREVER) for key in self.said.keys]
        return events + [Tombstone(scope=self.scope.calendar, key=one.key, version=self.position.version) for one in self.said.nodes]

    def erased(self) -> Erased:
        """The events as timeline and calendar take them."""
        return Erased(scope=self.scope, keys=self.said.keys, position=self.position, sessions=self.said.sessions)

    def nodes(self) -> NodesErased:
        """The nodes as the calendar takes them."""
        return NodesErased(scope=self.scope, nodes=self.said.nodes, position=self.position, recorded_us=self.recorded_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A message that does not open; ``erased`` if because its key was destroyed."""

    position: Position
    reason: str
    erased: bool = False


Readable = OpenedEvent | OpenedRetraction | OpenedNode | OpenedErasure
Opened = Readable | Unreadable

_RECENT_BYTES = 4 << 20
"""Memory of what is remembered opened: some 1,700 turns of a chat. What is opened once more costs 50 microseconds."""
_OBJECTS_BYTES = 2048
"""Of an opened event beside its message: what the objects that it is made of take, as seen in the interpreter."""


class Reader:
    """Opens messages, fetching the keys of a batch together.

    What was opened a moment ago is remembered, because every projection reads the same messages one after another.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._recent: OrderedDict[Position, OpenedEvent] = OrderedDict()
        self._recent_bytes = 0

    async def open(self, messages: Sequence[Message]) -> list[Opened]:
        """One opened value per message, in order.

        Raises:
            Unavailable, DeadlineExceeded: the key store does not answer.
        """
        found: list[Opened | None] = [self._recent.get(message.position) for message in messages]
        fresh = [index for index, opened in enumerate(found) if opened is None]
        for index, opened in zip(fresh, await self._open_fresh([messages[index] for index in fresh]), strict=True):
            found[index] = opened
            if isinstance(opened, OpenedEvent):
                self._remember(opened)
        return [opened for opened in found if opened is not None]

    async def probe(self) -> None:
        """Raise what ``open`` would raise while the key store is away."""
        await self._vault.probe()

    def forget(self) -> None:
        """Remember nothing, because a key was destroyed; no key either."""
        self._vault.clear()
        self._recent.clear()
        self._recent_bytes = 0

    def _remember(self, opened: OpenedEvent) -> None:
        if opened.position in self._recent:
            return
        self._recent[opened.position] = opened
        self._recent_bytes += opened.size + _OBJECTS_BYTES
        while self._recent_bytes > _RECENT_BYTES:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= oldest.size + _OBJECTS_BYTES

    async def _open_fresh(self, messages: Sequence[Message]) -> list[Opened]:
        parsed: list[envelopes.Sealed | Unreadable] = []
        for message in messages:
            try:
                parsed.append(envelopes.parse(message.body))
            except Damaged as error:
                parsed.append(Unreadable(position=message.position, reason=error.detail))
        wanted = envelopes.references([one for one in parsed if isinstance(one, envelopes.Sealed)])
        boxes: dict[tuple[Scope, str], aead.Box | Damaged] = {}
        for scope, references in wanted.items():
            opening, damaged = await self._vault.boxes_that_open(scope, references)
            boxes.update({(scope, reference): box for reference, box in opening.items()})
            boxes.update({(scope, reference): error for reference, error in damaged.items()})
        return [
            one if isinstance(one, Unreadable) else _open(message, one, boxes.get((one.scope, one.key_reference)))
            for message, one in zip(messages, parsed, strict=True)
        ]


def _open(message: Message, sealed: envelopes.Sealed, box: aead.Box | Damaged | None) -> Opened:
    if sealed.is_erasure:
        return _erasure(message, sealed)
    if box is None:
        return Unreadable(position=message.position, reason="its key was destroyed", erased=True)
    try:
        if isinstance(box, Damaged):
            raise box
        content = envelopes.unseal(sealed, box)
    except Damaged as error:
        return Unreadable(position=message.position, reason=error.detail)
    if isinstance(content, envelopes.Retraction):
        keys = tuple(event_key(sealed.scope, event_id) for event_id in content.event_ids)
        return OpenedRetraction(scope=sealed.scope, keys=keys, position=message.position, recorded_us=sealed.recorded_us)
    if isinstance(content, Node):
        return OpenedNode(
            scope=sealed.scope,
            key=nodes.node_key(sealed.scope, content.period),
            position=message.position,
            node=content,
            content_mac=sealed.content_mac,
            recorded_us=sealed.recorded_us,
        )
    return OpenedEvent(
        scope=sealed.scope,
        key=event_key(sealed.scope, content.id),
        position=message.position,
        event=content,
        content_mac=sealed.content_mac,
        size=len(message.body),
    )


def _erasure(message: Message, sealed: envelopes.Sealed) -> Opened:
    try:
        return OpenedErasure(scope=sealed.scope, position=message.position, recorded_us=sealed.recorded_us, said=envelopes.erased(sealed))
    except Damaged as error:
        return Unreadable(position=message.position, reason=error.detail)
