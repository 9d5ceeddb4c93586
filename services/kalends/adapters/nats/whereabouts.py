"""What a process knows of which memory is in which stream, and how it finds out that this has changed.

Belongs here: the layout of now, looking at it anew, and standing in for a process that died while it changed it. Does not belong here:
changing it for other reasons (``widening``). A newcomer would get wrong: what is known here may be old, and nothing depends on its being
new: the broker takes a message by its subject and says in which stream it put it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from kalends.adapters.nats import widening
from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER
from kalends.adapters.nats.layout import Layout, is_own, subject_of_slot
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.positions import Position
from kalends.kit.backoff import pauses
from kalends.wire.leases import Lease

_ANSWER_S = 1.0
"""A stream that says nothing for so long is left as it was known."""


class Whereabouts:
    """The layout as this process knows it. ``layout`` is replaced as a whole; who asked for it is told then."""

    def __init__(
        self, requests: Requests, *, found: widening.Found, options: NatsOptions, settings: Mapping[str, object], turn: Lease
    ) -> None:
        self._requests = requests
        self._options = options
        self._settings = settings
        self._turn = turn
        self._lock = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._needed = asyncio.Event()
        self._looked_at = float("-inf")
        self._holes_since: float | None = None
        self._notices: list[Callable[[], None]] = []
        self.layout = found.layout
        self.left_behind: Mapping[str, int] = found.layout.left_behind
        self.heads: dict[str, int] = dict(found.heads)
        """The highest sequence of each stream that this process has heard of."""

    def on_change(self, notice: Callable[[], None]) -> None:
        """Call *notice* whenever the layout is another."""
        self._notices.append(notice)

    def off_change(self, notice: Callable[[], None]) -> None:
        """Do not call *notice* any more."""
        self._notices.remove(notice)

    def noted(self, stream: str, sequence: int) -> None:
        """Take note that *stream* has come to *sequence*."""
        if sequence > self.heads.get(stream, 0):
            self.heads[stream] = sequence

    def position(self, stream: str, sequence: int) -> Position:
        """The place *sequence* of a stream that is known."""
        return Position(stream, sequence, self.layout.epochs[stream])

    async def epoch_of(self, stream: str) -> int:
        """The epoch of *stream*, which another process may have made a moment ago.

        Raises:
            Unavailable: the broker does not tell.
        """
        if stream not in self.layout.epochs:
            await self.look()
        if stream not in self.layout.epochs:
            raise Unavailable("nats: a stream that does not say what it is", dependency=DEPENDENCY, retry_after=RETRY_AFTER)
        return self.layout.epochs[stream]

    async def look(self) -> None:
        """Ask the broker how it is now; who asks while another one does waits for a look that began later.

        Raises:
            KalendsError: the broker refuses or does not answer.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._lock:
            if self._looked_at >= asked_at:
                return
            began_at = loop.time()
            found, silent = await widening.find_some(self._requests, wait=_ANSWER_S)
            self._looked_at = began_at
            self._replace(found, silent)

    async def look_at_all(self) -> None:
        """Know every stream that there is now.

        Raises:
            Unavailable: there is one that does not say what it is. KalendsError: the broker refuses or does not answer.
        """
        wanted = await widening.names(self._requests)
        if set(wanted) - set(self.layout.names):
            await self.look()
        for name in wanted:
            await self.epoch_of(name)

    def _replace(self, found: widening.Found, silent: frozenset[str]) -> None:
        for stream, head in found.heads.items():
            self.noted(stream, head)
        kept = [one for one in self.layout.streams if one.name in silent]
        layout = Layout([*found.layout.streams, *kept])
        if layout != self.layout:
            self.layout = layout
            self.left_behind = layout.left_behind
            for notice in tuple(self._notices):
                notice()

    async def gone_from(self, stream: str, slots: Iterable[int]) -> frozenset[int]:
        """Those of *slots* that *stream* does not have any more; none if the broker does not say, or if nothing ever leaves that stream."""
        if is_own(stream):
            return frozenset()
        asked = sorted(set(slots))
        try:
            async with asyncio.timeout(_ANSWER_S):
                told = await widening.holders(self._requests, [subject_of_slot(slot) for slot in asked])
                if all(stream in names for names in told):
                    return frozenset()
                await self.look()
        except (TimeoutError, Unavailable, DeadlineExceeded):
            return frozenset()  # the stream itself refuses what it does not have, so asking again is safe
        return frozenset(slot for slot in asked if self.layout.stream_of(slot) != stream)

    async def home_of(self, slot: int) -> str:
        """The stream that takes the messages of *slot*, once one does; the caller has a deadline."""
        for pause in pauses(first=0.01, longest=0.2):
            name = self.layout.stream_of(slot)
            if name is not None:
                return name
            await asyncio.sleep(pause)
            try:
                await self.look()
            except (Unavailable, DeadlineExceeded):
                continue  # until the caller's deadline
            self._needed.set()  # not done here: the caller's deadline may come in the middle of it
        raise AssertionError("there is always another pause")

    async def watch(self, *, every: float | None) -> None:
        """Find out by ourselves, until cancelled, and stand in for whoever died before it was done.

        Looks *every* so many seconds; None: only when slots without a stream are needed.
        """
        while True:
            await self._pause(every)
            self._needed.clear()
            try:
                if self._unfinished or set(await widening.names(self._requests)) != set(self.layout.names):
                    await self.look()
                    await self._finish()
            except KalendsError:
                continue  # the broker is away; whoever needs it now says so

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._needed.wait()
        except TimeoutError:
            return  # time to look, whether or not anybody asked

    async def at_rest(self) -> None:
        """Return once nothing is being changed by this process, and begin nothing more; the caller has a deadline."""
        await self._changing.acquire()

    @property
    def _unfinished(self) -> bool:
        serving = sum(bool(one.slots) for one in self.layout.shared)
        return bool(self.layout.holes) or serving < max(self._options.partitions, len(self.layout.shared))

    async def _finish(self) -> None:
        """Have the streams that the settings want, if nobody is at that now; and streams for slots that have had none for some time."""
        now = asyncio.get_running_loop().time()
        if not self.layout.holes:
            self._holes_since = None
        elif self._holes_since is None:
            self._holes_since = now
        if self._holes_since is not None and now - self._holes_since < self._options.mend_after:
            return  # a move takes that long
        async with self._changing:
            found = await widening.widen(self._requests, partitions=self._options.partitions, settings=self._settings, turn=self._turn)
        self._replace(found, frozenset())
