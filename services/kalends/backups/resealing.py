"""Sealing restored messages anew for the memory that they go to.

Belongs here: keys, envelopes and drafts of a restore. Does not belong here: which messages (``restoring``). A newcomer would get wrong: the
times and the id of an event stay, only its seal is new; and each draft says in a header which restore it is of and its place in it, which
is how a restore that was cut off knows where to go on.
"""

from collections.abc import Sequence

from kalends.backups.opening import Opened
from kalends.domain.calendar import Node
from kalends.domain.events import Event
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.ports.log import Draft, Log
from kalends.wire import envelopes, nodes
from kalends.wire.envelopes import Stamp
from kalends.wire.stamps import Stamps
from kalends.wire.vault import Vault, key_reference


class Resealing:
    """Appends the messages of one restore to the memory *target*."""

    HEADER = "Kalends-Restored"

    def __init__(self, operation_id: str, target: Scope, *, vault: Vault, source: Log) -> None:
        self._operation_id = operation_id
        self._target = target
        self._vault = vault
        self._log = source
        self._stamps = Stamps("restore")
        self._sessions: dict[str, str] = {}

    def learn(self, opened: Opened) -> None:
        """Know under which key of the target whatever was sealed with this one's goes on; also of what is not appended."""
        if isinstance(opened.content, Event):
            self._sessions[opened.sealed.key_reference] = key_reference(self._target, opened.content.facets.session_id)

    async def append(self, gathered: Sequence[Opened]) -> None:
        """Append them in order; durable on return.

        Raises:
            Throttled: the log is full. Unavailable, DeadlineExceeded: nothing is known of the outcome.
        """
        placed = [(one, reference) for one in gathered if (reference := self._reference(one)) is not None]
        if not placed:
            return
        boxes = await self._vault.boxes_for_writing(self._target, sorted({reference for _, reference in placed}))
        stamps = self._stamps.issue(len(placed))
        stored = False
        try:
            drafts = [self._draft(one, reference, boxes[reference], stamp) for (one, reference), stamp in zip(placed, stamps, strict=True)]
            appended = await self._log.append(drafts)
            stored = not any(one.duplicate for one in appended)
        finally:
            self._stamps.settle(stamps, stored=stored)

    def _reference(self, opened: Opened) -> str | None:
        """Which key of the target; None for what takes back only events that are not here."""
        content = opened.content
        if isinstance(content, Event):
            return key_reference(self._target, content.facets.session_id)
        if isinstance(content, Node):
            return nodes.reference_of(self._target, content)
        return self._sessions.get(opened.sealed.key_reference)

    def _draft(self, opened: Opened, reference: str, box: aead.Box, stamp: Stamp) -> Draft:
        content, target, recorded_us = opened.content, self._target, opened.sealed.recorded_us
        if isinstance(content, Event):
            mac = envelopes.content_mac(content, box)
            body = envelopes.seal_event(content, scope=target, key_reference=reference, box=box, mac=mac, stamp=stamp)
        elif isinstance(content, Node):
            body = envelopes.seal_node(content, scope=target, recorded_us=recorded_us, key_reference=reference, box=box, stamp=stamp)
        else:
            body = envelopes.seal_retraction(content, scope=target, recorded_us=recorded_us, key_reference=reference, box=box, stamp=stamp)
        name = f"restore-{self._operation_id}-{opened.place}"
        return Draft(scope=target, message_id=name, body=body, headers={self.HEADER: f"{self._operation_id} {opened.place}"})
