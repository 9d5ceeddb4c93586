"""The hidden view: what must not be shown any more, and where nothing may be written, as one process knows it.

Belongs here: following the erasures that are under way, and the questions that every read path and every writer asks. Does not belong here:
erasing. A newcomer would get wrong: it is not enough to know what is fenced, one must know since when one's knowledge is confirmed; a
write that is acknowledged on older knowledge than ``FRESH_S`` might be sealed under a key that is destroyed, and lost.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from kalends.domain.calendar import Bullet, Grip, Node
from kalends.domain.erasures import Erasure, Selector
from kalends.domain.errors import KalendsError, Unavailable
from kalends.domain.events import EventKey, Facets, event_key
from kalends.domain.scope import Scope
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.wire.erasures import ErasureStore

log = structlog.get_logger(__name__)

LOOK_S = 0.4
"""How often every process looks whether there is something new; what was asked for elsewhere is hidden here so much later."""

RETRY_S = 5.0
_REMEMBERED = 1000


class HiddenView:
    """What is hidden. *changed* is called whenever an erasure went on, for keys may have been destroyed: caches are dropped then."""

    def __init__(self, *, store: ErasureStore, clock: Clock, fresh_s: float, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._clock = clock
        self._fresh_s = fresh_s
        self._changed = changed
        self._seen = -1
        self._confirmed = float("-inf")
        self._active: Mapping[Scope, Sequence[Erasure]] = {}
        self._changes: deque[tuple[int, Scope, Selector]] = deque(maxlen=_REMEMBERED)
        self._number = 0
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Look until cancelled."""
        waits = pauses(first=LOOK_S, longest=RETRY_S)
        while True:
            try:
                await self.refresh()
                waits = pauses(first=LOOK_S, longest=RETRY_S)
                await self._clock.sleep(LOOK_S)
            except KalendsError as error:
                log.warning("erasures cannot be followed", kind=error.code)
                await self._clock.sleep(next(waits))

    async def refresh(self) -> None:
        """Know everything that was stored before this call.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer; what is known stays.
        """
        async with self._lock:
            asked_at = self._clock.monotonic()
            count = await self._store.seen()
            if count != self._seen:
                # the first look finds also what somebody stored who died before it was marked
                self._learn(await (self._store.recover() if self._seen < 0 else self._store.active()))
                # caches go before the fence does: who finds it open must not find a key that is gone
                self._changed()
                self._seen = count
            self._confirmed = asked_at

    def _learn(self, active: Sequence[Erasure]) -> None:
        found: defaultdict[Scope, list[Erasure]] = defaultdict(list)
        for one in active:
            found[one.scope].append(one)
        now = {(one.erasure_id, one.step, one.begun): one for one in active}
        before = {(one.erasure_id, one.step, one.begun): one for one in self.every()}
        for step in now.keys() ^ before.keys():
            one = now.get(step) or before[step]
            self._number += 1
            self._changes.append((self._number, one.scope, _selector(one)))
        self._active = dict(found)

    async def admit(self, scope: Scope, sessions: Sequence[str], *, since: int | None = None) -> int:
        """Whether *sessions* may be written to, as is known at most ``fresh_s`` seconds ago; give the answer back as *since* after writing.

        Raises:
            Unavailable: one is being erased, or was since *since*; nothing may be acknowledged. And what looking raises.
        """
        if self._clock.monotonic() - self._confirmed > self._fresh_s:
            await self.refresh()
        if self._fenced(scope, sessions):
            # it may be over since, and who was told so writes at once
            await self.refresh()
        if self._fenced(scope, sessions) or (since is not None and self._went_on(scope, sessions, since=since)):
            raise Unavailable("what is written to is being erased; try again", dependency="erasure", retry_after=RETRY_S)
        return self._number

    def _fenced(self, scope: Scope, sessions: Sequence[str]) -> bool:
        """Whether one of *sessions* is being erased, as far as is known."""
        return any(one.begun and _takes_any(_selector(one), sessions) for one in self._active.get(scope, ()))

    def _went_on(self, scope: Scope, sessions: Sequence[str], *, since: int) -> bool:
        """Whether an erasure of one of *sessions* went on after the change *since*, as far as changes are remembered."""
        if self._number - since > len(self._changes):
            return True
        return any(number > since and of == scope and _takes_any(named, sessions) for number, of, named in self._changes)

    @property
    def number(self) -> int:
        """How many changes of erasures are known; to be noted before something is read, and given to ``took_since`` when it is written."""
        return self._number

    async def took_since(self, scope: Scope, sessions: Collection[str], *, since: int) -> bool:
        """Whether an erasure that may have taken something of *sessions* began, went on or ended after the change *since*.

        Known as of ``fresh_s`` seconds ago at most. Of an erasure that names no whole sessions it is not looked what it took.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        if self._clock.monotonic() - self._confirmed > self._fresh_s:
            await self.refresh()
        if self._number - since > len(self._changes):
            return True
        later = (named for number, of, named in self._changes if number > since and of == scope)
        return any(not named.is_whole or _takes_any(named, list(sessions)) for named in later)

    def active(self, scope: Scope) -> Sequence[Erasure]:
        """The erasures under way in one memory."""
        return self._active.get(scope, ())

    def every(self) -> Sequence[Erasure]:
        """The erasures under way, oldest first."""
        return sorted((one for found in self._active.values() for one in found), key=lambda one: one.erasure_id)

    def hides_memory(self, scope: Scope) -> bool:
        """Whether nothing of a memory may be shown."""
        return any(one.selector_kind == "everything" for one in self._active.get(scope, ()))

    def hides_session(self, scope: Scope, session: str) -> bool:
        """Whether nothing of a session may be shown."""
        return any(_selector(one).takes_session(session) for one in self._active.get(scope, ()))

    def hides_labels(self, scope: Scope, labels: Collection[str]) -> bool:
        """Whether nothing that has *labels* may be shown."""
        return any(_selector(one).takes_labels(labels) for one in self._active.get(scope, ()))

    def hides(self, scope: Scope, key: EventKey, *, session: str, occurred_us: int, facets: Facets | None = None) -> bool:
        """Whether an event may not be shown; without *facets* what only its content tells is not counted."""
        active = self._active.get(scope)
        if not active:
            return False
        return any(_selector(one).takes(scope, key, session=session, occurred_us=occurred_us, facets=facets) for one in active)

    def cites(self, scope: Scope, node: Node) -> bool:
        """Whether a node of the calendar rests on something hidden, as far as its evidence tells."""
        if not self._unfollowed(scope):
            return False
        if self._hides_whole(scope, node):
            return True
        selectors = [_selector(one) for one in self._unfollowed(scope)]
        keys = [event_key(scope, one) for one in node.events]
        if any(one.takes(scope, key, session=node.session_id, occurred_us=node.first_us) for one in selectors for key in keys):
            return True
        return any(self._hides_grip(scope, grip) for bullet in node.bullets for grip in bullet.grips)

    def shown(self, scope: Scope, node: Node) -> Node:
        """*node* without the lines that rest on something hidden; if there are any, without title and keywords, too."""
        if not self._unfollowed(scope):
            return node
        kept = tuple(bullet for bullet in node.bullets if not self._hides_bullet(scope, bullet))
        whole = self._hides_whole(scope, node)
        if len(kept) == len(node.bullets) and not whole and not self.cites(scope, node):
            return node
        return replace(node, bullets=() if whole else kept, title="", keywords=(), agents=())

    def _unfollowed(self, scope: Scope) -> Sequence[Erasure]:
        """The erasures of which the calendar does not know yet."""
        return [one for one in self._active.get(scope, ()) if not one.is_followed]

    def _hides_whole(self, scope: Scope, node: Node) -> bool:
        return bool(node.session_id) and any(_selector(one).takes_session(node.session_id) for one in self._unfollowed(scope))

    def _hides_bullet(self, scope: Scope, bullet: Bullet) -> bool:
        return any(self._hides_grip(scope, grip) for grip in bullet.grips)

    def _hides_grip(self, scope: Scope, grip: Grip) -> bool:
        for one in self._unfollowed(scope):
            selector = _selector(one)
            if selector.kind == "actor":
                if grip.speaker == selector.actor:
                    return True
            elif selector.kind == "label":
                continue  # nothing with a label is in the calendar
            elif selector.kind == "metadata":
                return True  # what an event was tagged with is not in its evidence, so nothing is shown until it is known
            else:
                keys = (event_key(scope, grip.first), event_key(scope, grip.last))
                if any(selector.takes(scope, key, session=grip.session_id, occurred_us=grip.occurred_us) for key in keys):
                    return True
        return False


def _takes_any(selector: Selector, sessions: Sequence[str]) -> bool:
    return selector.is_whole and any(selector.takes_session(session) for session in sessions)


def _selector(erasure: Erasure) -> Selector:
    """What is hidden; everything, if it cannot be read any more what was meant."""
    return erasure.selector or Selector(kind="everything")
