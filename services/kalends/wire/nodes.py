"""Nodes of the calendar: domain values to stored bytes and back.

Belongs here: the mapping of a node's content, and how a node is named and sealed. Does not belong here: the envelope around it
(``envelopes``), or what a node says. A newcomer would get wrong: a segment is sealed with its session's key, so that forgetting the session
makes it unreadable; what stands above several sessions has a key of its own.
"""

import hashlib

from kalends.domain.calendar import Bullet, Grip, Node
from kalends.domain.errors import Damaged, Invalid
from kalends.domain.events import EventId, EventKey
from kalends.domain.periods import Period, period_of
from kalends.domain.scope import Scope
from kalends.wire.gen.kalends.v1 import calendar_pb2 as pb
from kalends.wire.vault import key_reference, node_key_reference


def node_key(scope: Scope, period: Period) -> EventKey:
    """The identity of a node in every engine: 32 hex digits."""
    return EventKey(hashlib.blake2b(f"{scope.calendar.key}{period.id}".encode(), digest_size=16).hexdigest())


def reference_of(scope: Scope, node: Node) -> str:
    """Which data key seals *node*."""
    return key_reference(scope, node.session_id) if node.period.level == "segment" else node_key_reference(scope, node.period.id)


def encode(node: Node) -> bytes:
    """*node* as the sealed content of an envelope; the same node always gives the same bytes."""
    return _message(node).SerializeToString(deterministic=True)


def substance(node: Node) -> bytes:
    """What *node* says: its content without what it was made of. Two versions with the same substance are one."""
    message = _message(node)
    message.ClearField("inputs")
    return message.SerializeToString(deterministic=True)


def decode(content: bytes) -> Node:
    """Read back what :func:`encode` made.

    Raises:
        Damaged: it names no node. DecodeError: the bytes are no node.
    """
    stored = pb.Node.FromString(content)
    try:
        period = period_of(stored.node_id)
    except Invalid as error:
        raise Damaged("a node without a place in the calendar") from error
    return Node(
        period=period,
        title=stored.title,
        bullets=tuple(Bullet(text=bullet.text, grips=tuple(_grip(grip) for grip in bullet.grips)) for bullet in stored.bullets),
        keywords=tuple(stored.keywords),
        children=tuple(stored.children),
        events=tuple(EventId(event_id) for event_id in stored.events),
        event_count=stored.event_count,
        first_us=stored.first_us,
        last_us=stored.last_us,
        agents=tuple(stored.agents),
        session_id=stored.session_id,
        author=stored.author,
        degraded=stored.degraded,
        inputs=stored.inputs,
        gone=stored.gone,
    )


def _message(node: Node) -> pb.Node:
    return pb.Node(
        node_id=node.period.id,
        title=node.title,
        bullets=[_bullet(bullet) for bullet in node.bullets],
        keywords=node.keywords,
        children=node.children,
        events=node.events,
        event_count=node.event_count,
        first_us=node.first_us,
        last_us=node.last_us,
        agents=node.agents,
        session_id=node.session_id,
        author=node.author,
        degraded=node.degraded,
        inputs=node.inputs,
        gone=node.gone,
    )


def _bullet(bullet: Bullet) -> pb.Bullet:
    return pb.Bullet(
        text=bullet.text,
        grips=[
            pb.Grip(
                grip_id=grip.id,
                excerpt=grip.excerpt,
                first=grip.first,
                last=grip.last,
                session_id=grip.session_id,
                occurred_us=grip.occurred_us,
                speaker=grip.speaker,
            )
            for grip in bullet.grips
        ],
    )


def _grip(stored: pb.Grip) -> Grip:
    return Grip(
        id=stored.grip_id,
        excerpt=stored.excerpt,
        first=EventId(stored.first),
        last=EventId(stored.last),
        session_id=stored.session_id,
        occurred_us=stored.occurred_us,
        speaker=stored.speaker,
    )
