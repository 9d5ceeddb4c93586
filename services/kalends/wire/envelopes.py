"""Envelopes: domain values to stored bytes and back.

Belongs here: the mapping and the sealing. Does not belong here: where keys come from (``vault``) or bytes go. A newcomer would get wrong:
the content MAC covers what the *caller* said, so an event that came without ``occurred_at`` has the same MAC when it is sent again later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from kalends.domain.calendar import Node
from kalends.domain.errors import Damaged, Invalid
from kalends.domain.events import Event, EventId, EventKey, Facets, Scalar, microseconds, moment
from kalends.domain.periods import period_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.ports.calendar import ErasedNode
from kalends.wire import nodes
from kalends.wire.gen.kalends.v1 import envelope_pb2 as pb
from kalends.wire.gen.kalends.v1 import erasures_pb2

SCHEMA = 1

_canonical = msgspec.json.Encoder(order="deterministic")


class Stamp(NamedTuple):
    """Who wrote a message, so that a lost ack can be detected: the writer, its count, and up to where it saw every ack."""

    writer: str
    number: int
    acked_up_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A parsed envelope whose content is still sealed."""

    scope: Scope
    event_id: EventId | None
    key_reference: str
    occurred_us: int
    recorded_us: int
    content_mac: bytes
    envelope: pb.Envelope

    @property
    def is_erasure(self) -> bool:
        """Whether it says what was erased: that is not sealed, for it must be read when every key is gone."""
        return self.envelope.kind == pb.Envelope.KIND_ERASURE

    @property
    def is_node(self) -> bool:
        """Whether it is a version of a node of the calendar."""
        return self.envelope.kind == pb.Envelope.KIND_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What one message says was erased for ever: events by key, whole sessions by tag, all earlier versions of nodes. No names, no text."""

    erasure_id: EventId
    keys: tuple[EventKey, ...] = ()
    sessions: tuple[str, ...] = ()
    nodes: tuple[ErasedNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction:
    """Events of one memory taken back."""

    event_ids: tuple[EventId, ...]
    reason: str


def content_mac(event: Event, box: aead.Box) -> bytes:
    """16 bytes that are equal exactly for the same content under the same session's key."""
    facets = event.facets
    content = (
        SCHEMA,
        facets.session_id,
        facets.kind,
        facets.role,
        facets.actor,
        event.text,
        facets.metadata,
        facets.channel,
        facets.thread_id,
        facets.priority,
        event.trust,
        microseconds(event.occurred_at) if event.dated else None,
        microseconds(event.expires_at) if event.expires_at else None,
        event.document_id,
    )
    # what has no labels is the same content as it was before there were any
    return box.digest(_canonical.encode((*content, facets.labels) if facets.labels else content))


def seal_event(event: Event, *, scope: Scope, key_reference: str, box: aead.Box, mac: bytes, stamp: Stamp) -> bytes:
    """The bytes that the log stores for *event*."""
    envelope = pb.Envelope(
        schema=SCHEMA,
        kind=pb.Envelope.KIND_EVENT,
        tenant=scope.tenant,
        memory=scope.memory,
        event_id=event.id,
        occurred_us=microseconds(event.occurred_at),
        recorded_us=microseconds(event.recorded_at),
        content_mac=mac,
    )
    return _finish(envelope, _content(event).SerializeToString(), scope, key_reference, box, stamp)


def seal_retraction(retraction: Retraction, *, scope: Scope, recorded_us: int, key_reference: str, box: aead.Box, stamp: Stamp) -> bytes:
    """The bytes that the log stores for *retraction*."""
    envelope = pb.Envelope(
        schema=SCHEMA,
        kind=pb.Envelope.KIND_RETRACTION,
        tenant=scope.tenant,
        memory=scope.memory,
        recorded_us=recorded_us,
        occurred_us=recorded_us,
    )
    content = pb.Retraction(event_ids=retraction.event_ids, reason=retraction.reason)
    return _finish(envelope, content.SerializeToString(), scope, key_reference, box, stamp)


def seal_node(node: Node, *, scope: Scope, recorded_us: int, key_reference: str, box: aead.Box, stamp: Stamp) -> bytes:
    """The bytes that the log stores for *node*."""
    envelope = pb.Envelope(
        schema=SCHEMA,
        kind=pb.Envelope.KIND_NODE,
        tenant=scope.tenant,
        memory=scope.memory,
        recorded_us=recorded_us,
        occurred_us=node.first_us,
        content_mac=box.digest(nodes.substance(node)),
    )
    return _finish(envelope, nodes.encode(node), scope, key_reference, box, stamp)


def erasure(erased: Erased, *, scope: Scope, recorded_us: int) -> bytes:
    """The bytes that the log stores for *erased*; nothing seals them."""
    tombstone = erasures_pb2.Tombstone(
        erasure_id=erased.erasure_id,
        event_keys=[bytes.fromhex(key) for key in erased.keys],
        session_tags=erased.sessions,
        nodes=[erasures_pb2.ErasedNode(key=bytes.fromhex(one.key), node_id=one.period.id, number=one.number) for one in erased.nodes],
    )
    envelope = pb.Envelope(
        schema=SCHEMA,
        kind=pb.Envelope.KIND_ERASURE,
        tenant=scope.tenant,
        memory=scope.memory,
        recorded_us=recorded_us,
        occurred_us=recorded_us,
        sealed=tombstone.SerializeToString(),
    )
    return envelope.SerializeToString()


def erased(sealed: Sealed) -> Erased:
    """What a message that ``is_erasure`` says.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        stored = erasures_pb2.Tombstone.FromString(sealed.envelope.sealed)
        return Erased(
            erasure_id=EventId(stored.erasure_id),
            keys=tuple(EventKey(key.hex()) for key in stored.event_keys),
            sessions=tuple(stored.session_tags),
            nodes=tuple(ErasedNode(key=EventKey(one.key.hex()), period=period_of(one.node_id), number=one.number) for one in stored.nodes),
        )
    except (DecodeError, Invalid) as error:
        raise Damaged("a message of an erasure that cannot be read") from error


def _finish(envelope: pb.Envelope, plain: bytes, scope: Scope, key_reference: str, box: aead.Box, stamp: Stamp) -> bytes:
    envelope.key_ref = bytes.fromhex(key_reference)
    envelope.writer = stamp.writer
    envelope.writer_number = stamp.number
    envelope.acked_up_to = stamp.acked_up_to
    envelope.nonce, envelope.sealed = box.seal(plain, context=_context(scope, envelope))
    return envelope.SerializeToString()


def parse(body: bytes) -> Sealed:
    """Read the outside of an envelope.

    Raises:
        Damaged: the bytes are no envelope, or one of a schema that this version does not read.
    """
    envelope = pb.Envelope()
    try:
        envelope.ParseFromString(body)
    except DecodeError as error:
        raise Damaged("not an envelope") from error
    reference = 0 if envelope.kind == pb.Envelope.KIND_ERASURE else aead.MAC_BYTES
    if envelope.schema != SCHEMA or not envelope.tenant or not envelope.memory or len(envelope.key_ref) != reference:
        raise Damaged(f"envelope of schema {envelope.schema} cannot be read")
    return Sealed(
        scope=Scope(tenant=Tenant(envelope.tenant), memory=MemoryName(envelope.memory)),
        event_id=EventId(envelope.event_id) if envelope.kind == pb.Envelope.KIND_EVENT else None,
        key_reference=envelope.key_ref.hex(),
        occurred_us=envelope.occurred_us,
        recorded_us=envelope.recorded_us,
        content_mac=envelope.content_mac,
        envelope=envelope,
    )


def unseal(sealed: Sealed, box: aead.Box) -> Event | Retraction | Node:
    """Open what :func:`parse` read.

    Raises:
        Damaged: the seal does not open, or what is inside cannot be read.
    """
    envelope = sealed.envelope
    try:
        plain = box.open(envelope.nonce, envelope.sealed, context=_context(sealed.scope, envelope))
        if envelope.kind == pb.Envelope.KIND_RETRACTION:
            retraction = pb.Retraction.FromString(plain)
            return Retraction(event_ids=tuple(EventId(i) for i in retraction.event_ids), reason=retraction.reason)
        if envelope.kind == pb.Envelope.KIND_NODE:
            return nodes.decode(plain)
        return _event(envelope, pb.Content.FromString(plain))
    except aead.TamperedError as error:
        raise Damaged("the seal does not open") from error
    except (DecodeError, OverflowError) as error:
        raise Damaged("the sealed content cannot be read") from error


def _context(scope: Scope, envelope: pb.Envelope) -> bytes:
    """What the seal is bound to: an envelope's outside cannot be exchanged."""
    head = (
        f"{SCHEMA}\0{envelope.kind}\0{scope.key}\0{envelope.event_id}\0{envelope.occurred_us}\0{envelope.recorded_us}\0"
        f"{envelope.writer}\0{envelope.writer_number}\0{envelope.acked_up_to}\0"
    )
    return head.encode() + envelope.key_ref + envelope.content_mac


def _content(event: Event) -> pb.Content:
    facets = event.facets
    content = pb.Content(
        session_id=facets.session_id,
        kind=facets.kind,
        role=facets.role,
        actor=facets.actor or "",
        text=event.text,
        channel=facets.channel or "",
        thread_id=facets.thread_id or "",
        priority=facets.priority or "",
        trust=event.trust or "",
        expires_us=microseconds(event.expires_at) if event.expires_at else None,
        dated=event.dated,
        document_id=event.document_id or "",
        labels=facets.labels,
    )
    for name, value in facets.metadata.items():
        _set_scalar(content.metadata[name], value)
    return content


def _set_scalar(into: pb.Scalar, value: Scalar) -> None:
    if isinstance(value, bool):
        into.truth = value
    elif isinstance(value, str):
        into.text = value
    elif isinstance(value, int):
        into.integer = value
    elif isinstance(value, float):
        into.number = value


def _scalars(metadata: Mapping[str, pb.Scalar]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, scalar in metadata.items():
        which = scalar.WhichOneof("value")
        found[name] = getattr(scalar, which) if which else None
    return found


def _event(envelope: pb.Envelope, content: pb.Content) -> Event:
    facets = Facets(
        session_id=content.session_id,
        kind=content.kind,
        role=content.role,
        actor=content.actor or None,
        channel=content.channel or None,
        thread_id=content.thread_id or None,
        priority=content.priority or None,
        metadata=_scalars(content.metadata) if content.metadata else {},
        labels=tuple(content.labels),
    )
    return Event(
        id=EventId(envelope.event_id),
        facets=facets,
        text=content.text,
        occurred_at=moment(envelope.occurred_us),
        recorded_at=moment(envelope.recorded_us),
        dated=content.dated,
        expires_at=moment(content.expires_us) if content.HasField("expires_us") else None,
        trust=content.trust or None,
        document_id=content.document_id or None,
    )


def references(sealed: Sequence[Sealed]) -> dict[Scope, set[str]]:
    """Which keys open *sealed*, by scope."""
    wanted: dict[Scope, set[str]] = {}
    for one in sealed:
        if not one.is_erasure:
            wanted.setdefault(one.scope, set()).add(one.key_reference)
    return wanted
