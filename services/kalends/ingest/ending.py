"""Ending a session: in a memory that keeps sessions only while they last, everything of it is erased.

Belongs here: that decision. Does not belong here: sessions that nobody ends (``retaining``). A newcomer would get wrong: in any other
memory the end of a session is no error and changes nothing, for an agent that says goodbye need not know what is kept of it.
"""

from typing import NamedTuple

from kalends.domain.erasures import Selector
from kalends.domain.events import microseconds
from kalends.domain.scope import Scope
from kalends.ingest.erasing import RequestErasures
from kalends.ports.clock import Clock
from kalends.ports.keys import Keys
from kalends.wire.documents import session_of
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.vault import key_reference

KEPT, EMPTY = "kept", "empty"


class Ended(NamedTuple):
    """What became of a session: ``kept``, ``empty`` or the state of its erasure; and the id of that."""

    state: str
    erasure_id: str | None = None


class EndSession:
    """Ends sessions of any memory."""

    def __init__(self, *, erasures: RequestErasures, hidden: HiddenView, memories: MemoryRegistry, keys: Keys, clock: Clock) -> None:
        self._erasures = erasures
        self._hidden = hidden
        self._memories = memories
        self._keys = keys
        self._clock = clock

    async def __call__(self, scope: Scope, session: str, *, by: str) -> Ended:
        """End *session*; again is safe. *by* is the id of a token.

        Raises:
            NotFound: there is no such memory. UnderHold: a hold keeps some of it. Unavailable, DeadlineExceeded: it may be asked for.
        """
        memory = await self._memories.find(scope)
        if memory.retention is None or not memory.retention.session_only or session.startswith(session_of("")):
            return Ended(KEPT)
        await self._hidden.refresh()
        now_us = microseconds(self._clock.now())
        for one in self._hidden.active(scope):
            if one.selector is not None and one.selector.takes_session(session) and (one.begun or one.undo_until_us <= now_us):
                return Ended(one.state, one.erasure_id)
        # whoever writes makes the key first, so what has none holds nothing, whether the timeline knows of it or not
        if not await self._keys.get(scope, [key_reference(scope, session)]):
            return Ended(EMPTY)
        begun = await self._erasures.ask(scope, Selector(kind="session_id", session=session), reason="retention", by=by)
        return Ended(begun.state, begun.erasure_id)
