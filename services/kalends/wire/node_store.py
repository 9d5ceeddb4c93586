"""Nodes in the log: reading versions back, and appending new ones.

Belongs here: positions to nodes, nodes to sealed messages. Does not belong here: which nodes there should be (``summarize``), or which
version is the newest (``ports.calendar``). A newcomer would get wrong: nothing is appended that says what the newest version says already;
and the same node after the same predecessor has the same message id, so a repetition within the log's window is a duplicate. What was read
before an erasure may not be written after it, however long the writer was held up between the two.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from kalends.domain.calendar import Node
from kalends.domain.events import microseconds
from kalends.domain.positions import Position, highest
from kalends.domain.scope import Scope
from kalends.kit import failpoints
from kalends.ports.calendar import KnownNode
from kalends.ports.clock import Clock
from kalends.ports.log import Draft, Log
from kalends.wire import envelopes, nodes
from kalends.wire.hidden import HiddenView
from kalends.wire.reader import OpenedNode, Reader
from kalends.wire.stamps import Stamps
from kalends.wire.vault import Vault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A node to be stored, and the newest version of it that is known; None if there is none.

    ``recorded_us`` is when it was recorded first, for one that comes from elsewhere; None: now.
    """

    node: Node
    newest: KnownNode | None
    recorded_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many nodes were appended, and up to where the calendar must be followed to know them.

    ``outdated``: something was erased since they were read; what is due stays so, and takes back what should not be there.
    """

    nodes: int
    floors: dict[str, int]
    outdated: bool = False


class NodeStore:
    """Nodes of every memory, in the log."""

    def __init__(self, *, source: Log, reader: Reader, vault: Vault, clock: Clock, hidden: HiddenView | None = None) -> None:
        self._source = source
        self._reader = reader
        self._vault = vault
        self._clock = clock
        self._hidden = hidden
        self._stamps = Stamps("summarize")

    async def read(self, scope: Scope, positions: Sequence[Position]) -> list[OpenedNode | None]:
        """The node at each of *positions*, without what is hidden; None where it is gone from the log or its key was destroyed.

        Raises:
            Unavailable, DeadlineExceeded: the log or the key store does not answer.
        """
        messages = await self._source.read(positions)
        opened = await self._reader.open([message for message in messages if message is not None])
        found: dict[Position, OpenedNode] = {}
        for one in opened:
            if isinstance(one, OpenedNode) and one.scope == scope:
                found[one.position] = one if self._hidden is None else replace(one, node=self._hidden.shown(scope, one.node))
            elif isinstance(one, OpenedNode):
                log.error("position belongs to another scope", stream=one.position.stream, sequence=one.position.sequence)
        return [found.get(position) for position in positions]

    async def erasures_known(self) -> int:
        """How far erasures are now; to be noted before that is read of which nodes are made.

        Raises:
            Unavailable, DeadlineExceeded: the store of erasures does not answer.
        """
        if self._hidden is None:
            return 0
        await self._hidden.refresh()
        return self._hidden.number

    async def append(self, scope: Scope, proposed: Sequence[Proposed], *, since: int) -> Written:
        """Append those of *proposed* that say something new; durable on return. *since*: what ``erasures_known`` said before that.

        Raises:
            Throttled: the log is full. Unavailable, DeadlineExceeded: nothing is known of the outcome; propose them again.
        """
        if self._hidden is not None:
            # made of what is being erased, while it was still there to be read; the erasure makes its period due again
            proposed = [one for one in proposed if not self._hidden.cites(scope, one.node)]
        if await self._are_outdated(scope, proposed, since=since):
            return Written(nodes=0, floors={}, outdated=True)
        references = [nodes.reference_of(scope, one.node) for one in proposed]
        boxes = await self._vault.boxes_for_writing(scope, references)
        fresh = []
        for one, reference in zip(proposed, references, strict=True):
            mac = boxes[reference].digest(nodes.substance(one.node))
            if one.newest is None or (one.newest.content_mac, one.newest.gone) != (mac, one.node.gone):
                fresh.append((one, reference, mac))
        if not fresh:
            return Written(nodes=0, floors={})
        recorded_us = microseconds(self._clock.now())
        stamps = self._stamps.issue(len(fresh))
        stored = False
        try:
            drafts = []
            for stamp, (one, reference, mac) in zip(stamps, fresh, strict=True):
                body = envelopes.seal_node(
                    one.node,
                    scope=scope,
                    recorded_us=recorded_us if one.recorded_us is None else one.recorded_us,
                    key_reference=reference,
                    box=boxes[reference],
                    stamp=stamp,
                )
                drafts.append(Draft(scope=scope, message_id=_message_id(scope, one, mac), body=body))
            await failpoints.reach("calendar.before-append")
            appended = await self._source.append(drafts)
            stored = not any(one.duplicate for one in appended)
        finally:
            self._stamps.settle(stamps, stored=stored)
        await failpoints.reach("calendar.after-append")
        outdated = await self._are_outdated(scope, proposed, since=since)
        return Written(nodes=len(fresh), floors=highest(one.position for one in appended), outdated=outdated)

    async def _are_outdated(self, scope: Scope, proposed: Sequence[Proposed], *, since: int) -> bool:
        """Whether something may have been erased of what *proposed* were made of; a node that says that nothing is left is always right."""
        said = [one.node for one in proposed if not one.node.gone]
        if self._hidden is None or not said:
            return False
        sessions = {one.session_id for one in said if one.session_id}
        sessions |= {grip.session_id for one in said for bullet in one.bullets for grip in bullet.grips}
        return await self._hidden.took_since(scope, sessions, since=since)


def _message_id(scope: Scope, proposed: Proposed, mac: bytes) -> str:
    before = proposed.newest.position if proposed.newest else None
    named = f"{scope.key}\0{proposed.node.period.id}\0{before}\0{mac.hex()}"
    return f"node-{hashlib.blake2b(named.encode(), digest_size=16).hexdigest()}"
