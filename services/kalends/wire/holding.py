"""Holds: whether something that is to go must stay.

Belongs here: comparing what is to go with what is held. Does not belong here: keeping holds (``erasures``). A newcomer would get wrong:
what overlaps a hold by one event is refused whole; nobody is told afterwards that half of it went.
"""

from collections.abc import Sequence

from kalends.domain.erasures import Hold, Selector
from kalends.domain.errors import UnderHold
from kalends.domain.scope import Scope
from kalends.wire.erasures import ErasureStore
from kalends.wire.selecting import Select


class Holds:
    """What must stay, memory by memory."""

    def __init__(self, *, store: ErasureStore, select: Select) -> None:
        self._store = store
        self._select = select

    async def check(self, scope: Scope, selector: Selector) -> None:
        """Refuse what meets a hold.

        Raises:
            UnderHold: it does; the detail names the hold. And what the stores raise.
        """
        for hold in await self._store.holds(scope):
            if await self._meets(scope, selector, hold):
                raise UnderHold(f"the hold {hold.name!r} keeps some of this")

    async def of_scope(self, scope: Scope) -> Sequence[Hold]:
        """What must stay in one memory."""
        return await self._store.holds(scope)

    async def _meets(self, scope: Scope, selector: Selector, hold: Hold) -> bool:
        if "everything" in {selector.kind, hold.selector.kind}:
            return True
        if selector.is_whole and hold.selector.is_whole:
            return selector.session == hold.selector.session
        async for piece in self._select.pieces(scope, selector):
            if any(hold.selector.takes(scope, one.key, session=one.session, occurred_us=one.occurred_us) for one in piece):
                return True
        return False
