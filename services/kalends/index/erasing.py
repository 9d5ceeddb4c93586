"""Erasing: one erasure from its record to its receipt.

Belongs here: the order of the steps. Does not belong here: which process does it when (``erasures``), or how a store forgets
(``adapters``). A newcomer would get wrong: each step can be done again, and a kill may come anywhere; what is still to be done is found in
the log, where the erasure's own messages say what they are about, and not in a record.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from kalends.domain.erasures import Erasure, Selector
from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, Occupied, Unavailable
from kalends.domain.events import EventKey, event_key, microseconds, moment
from kalends.domain.periods import Period, day_of
from kalends.domain.positions import Floors
from kalends.domain.queries import tag
from kalends.domain.scope import Scope
from kalends.edge.progress import Progress
from kalends.index.probing import Probe
from kalends.kit import failpoints, signatures
from kalends.kit.backoff import pauses
from kalends.ports.calendar import Calendar, ErasedNode, NodeHistory, Unit
from kalends.ports.clock import Clock
from kalends.ports.keys import Keys
from kalends.ports.ledger import Ledger
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.log import Draft, Log, Message
from kalends.ports.timeline import Known, Timeline
from kalends.ports.vectors import VectorIndex
from kalends.ports.work import Work
from kalends.settings import ErasureSettings
from kalends.wire import envelopes, receipts
from kalends.wire.canaries import CanaryStore, erased_of
from kalends.wire.documents import DocumentStore, session_of
from kalends.wire.erasures import ErasureStore
from kalends.wire.hidden import HiddenView
from kalends.wire.holding import Holds
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedErasure, Reader, Unreadable
from kalends.wire.selecting import Select
from kalends.wire.vault import key_reference, node_key_reference

log = structlog.get_logger(__name__)

_BATCH = 500
_FOLLOWED_S = 30.0
_NODES = 400
"""Nodes that one message names, so that it stays small."""

_PURGES = 20
_WHOLE: tuple[str, ...] = ("timeline", "toc", "lexical", "vector")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What an erasure goes through."""

    log: Log
    timeline: Timeline
    calendar: Calendar
    lexicon: LexicalIndex
    vectors: VectorIndex
    keys: Keys
    documents: DocumentStore
    canaries: CanaryStore
    memories: MemoryRegistry
    ledger: Ledger


class BackedUp(Protocol):
    """What backups are to know of erasures, and erasures of backups (``backups.notes``); times in microseconds."""

    async def ends(self, scope: Scope, *, whole: bool, erased_us: int) -> datetime | None:
        """When the last backup ends that may hold what was erased of a memory, *whole* sessions or not, by then; None: none does."""
        ...

    async def note(self, scope: Scope, erasure_id: str, *, said: Sequence[bytes], receipt: bytes, erased_us: int) -> None:
        """Keep what the messages of an erasure say beside the backups, and its receipt; again changes nothing."""
        ...


class Erase:
    """Does one erasure, or goes on with it. *replicas* are those of the log; *backed_up* is where backups are."""

    def __init__(
        self,
        *,
        stores: Stores,
        records: ErasureStore,
        hidden: HiddenView,
        select: Select,
        holds: Holds,
        reader: Reader,
        progress: Progress,
        work: Work,
        signer: signatures.Signer,
        clock: Clock,
        settings: ErasureSettings,
        replicas: int,
        backed_up: BackedUp | None = None,
    ) -> None:
        self._stores = stores
        self._records = records
        self._hidden = hidden
        self._select = select
        self._holds = holds
        self._reader = reader
        self._progress = progress
        self._work = work
        self._signer = signer
        self._clock = clock
        self._settings = settings
        self._replicas = replicas
        self._backed_up = backed_up
        self._probe = Probe(stores.log, stores.timeline, stores.lexicon, stores.vectors)
        self._steps: Mapping[str, Callable[[Erasure], Awaitable[Erasure]]] = {
            "begin": self._begin,
            "tombstones": self._tombstones,
            "keys": self._keys,
            "messages": self._messages,
            "leftovers": self._leftovers,
            "calendar": self._calendar,
            "engines": self._engines,
            "settled": self._settled,
            "probe": self._prove,
        }

    async def __call__(self, erasure: Erasure) -> None:
        """Go on from the last step that is done until it is erased.

        Raises:
            KalendsError: something is away or wrong; the same again goes on.
        """
        names = list(self._steps)
        while erasure.step != names[-1]:
            name = names[names.index(erasure.step) + 1] if erasure.step else names[0]
            log.info("erasure goes on", erasure=erasure.erasure_id, step=name)
            erasure = await self._steps[name](erasure)
        await self._finish(erasure)

    async def _begin(self, erasure: Erasure) -> Erasure:
        """From here on it cannot be undone, and whole sessions are fenced; nothing that is acknowledged comes after the sweep's end."""
        if not erasure.begun:
            # set while it could still be undone: it stays hidden until the hold is gone
            await self._holds.check(erasure.scope, _selector(erasure))
            erasure = await self._records.put(erasure, begun=True)
            await self._records.mark(erasure)
        await self._hidden.refresh()
        await failpoints.reach("erasure.after-fence")
        if _selector(erasure).is_whole:
            await self._clock.sleep(self._settings.fence_s + 1.0)
        sweep = await self._heads()
        await self._followed(sweep, ("timeline", "toc"))
        erasure = await self._records.put(erasure, sweep=sweep, step="begin")
        await failpoints.reach("erasure.after-begin")
        return erasure

    async def _tombstones(self, erasure: Erasure) -> Erasure:
        """What is meant, in messages of the log; once every projection has followed them, none of it can come back."""
        await self._followed(await self._heads(), ("timeline", "toc"))
        scope, selector = erasure.scope, _selector(erasure)
        destroyed = 0
        async for piece in self._select.pieces(scope, selector):
            meant = [one for one in piece if one.position.sequence <= erasure.sweep.get(one.position.stream, 0)]
            if meant:
                destroyed += await self._append_tombstone(erasure, meant)
        await failpoints.reach("erasure.before-followed")
        await self._followed(await self._heads(), _WHOLE)
        erasure = await self._records.put(erasure, step="tombstones", counts=_added(erasure.counts, keys=destroyed))
        await self._records.mark(erasure)
        await failpoints.reach("erasure.after-tombstones")
        return erasure

    async def _append_tombstone(self, erasure: Erasure, meant: Sequence[Known]) -> int:
        """Say that these events and the nodes above them are erased; how many keys of nodes went."""
        scope, selector = erasure.scope, _selector(erasure)
        units = {Unit(scope=scope, session_id=one.session, day=day_of(moment(one.occurred_us)).first) for one in meant if one.session}
        histories = await self._stores.calendar.histories(sorted(units, key=lambda unit: (unit.day, unit.session_id)))
        nodes = [one for one in histories if one.standing]
        # before the message: what is made anew after it must not be sealed under a key that goes
        destroyed = await self._destroy_node_keys(scope, nodes)
        sessions = tuple(sorted({tag("session_id", one.session) for one in meant if selector.takes_session(one.session)}))
        keys = tuple(one.key for one in meant)
        for start in range(0, max(len(nodes), 1), _NODES):
            some = nodes[start : start + _NODES]
            said = envelopes.Erased(
                erasure_id=erasure.erasure_id,
                keys=keys if not start else (),
                sessions=sessions,
                nodes=tuple(ErasedNode(key=one.key, period=one.period, number=one.number) for one in some),
            )
            await self._append(scope, said)
        await failpoints.reach("erasure.after-tombstone")
        return destroyed

    async def _destroy_node_keys(self, scope: Scope, nodes: Sequence[NodeHistory]) -> int:
        references = [node_key_reference(scope, one.period.id) for one in nodes if one.period.level != "segment"]
        if not references:
            return 0
        stored = await self._stores.keys.get(scope, references)
        await self._stores.keys.destroy(scope, references)
        self._reader.forget()
        return len(stored)

    async def _append(self, scope: Scope, said: envelopes.Erased) -> None:
        now_us = microseconds(self._clock.now())
        body = envelopes.erasure(said, scope=scope, recorded_us=now_us)
        first = said.keys[0] if said.keys else (said.nodes[0].key if said.nodes else "")
        await self._stores.log.append([Draft(scope=scope, message_id=f"erase-{said.erasure_id}-{first}-{now_us}", body=body)])

    async def _keys(self, erasure: Erasure) -> Erasure:
        """What is sealed under a whole session's key is unreadable from here on, wherever a copy of it is."""
        scope, selector = erasure.scope, _selector(erasure)
        destroyed = 0
        if selector.kind == "everything":
            destroyed = await self._stores.keys.destroy_all(scope)
        elif selector.is_whole:
            reference = key_reference(scope, selector.session)
            destroyed = len(await self._stores.keys.get(scope, [reference]))
            await self._stores.keys.destroy(scope, [reference])
        await failpoints.reach("erasure.after-destroy")
        self._reader.forget()
        changes = self._unreadable(erasure) if selector.is_whole else {}
        erasure = await self._records.put(erasure, step="keys", counts=_added(erasure.counts, keys=destroyed), **changes)
        await self._records.mark(erasure)
        await failpoints.reach("erasure.after-keys")
        return erasure

    def _unreadable(self, erasure: Erasure) -> dict[str, object]:
        return {"state": "unreadable", "times": {**erasure.times, "unreadable": microseconds(self._clock.now())}}

    async def _messages(self, erasure: Erasure) -> Erasure:
        """The messages of events and nodes, taken out so that their bytes are overwritten."""
        scope = erasure.scope
        events = nodes = 0
        async for said in self._said(erasure):
            places = await self._stores.timeline.positions(scope, said.keys)
            events += await self._stores.log.erase([place for some in places.values() for place in some])
            await failpoints.reach("erasure.after-piece")
            histories = await self._stores.calendar.histories_by_keys(scope, [one.key for one in said.nodes])
            nodes += await self._stores.log.erase([place for one in histories for place in one.erased])
        counts = _added(erasure.counts, log_messages=events + nodes, calendar_nodes=nodes)
        changes = {} if _selector(erasure).is_whole else self._unreadable(erasure)
        erasure = await self._records.put(erasure, step="messages", counts=counts, **changes)
        if changes:
            await self._records.mark(erasure)
        await failpoints.reach("erasure.after-messages")
        return erasure

    async def _leftovers(self, erasure: Erasure) -> Erasure:
        """Whatever else of whole sessions is in the log, such as what took events back; and the records of documents that are gone."""
        scope, selector = erasure.scope, _selector(erasure)
        erased = 0
        if selector.is_whole:
            reference = key_reference(scope, selector.session)
            async for messages in self._read(scope, {}, await self._heads()):
                found = [message.position for message in messages if self._is_left(message, scope, selector, reference)]
                erased += await self._stores.log.erase(found) if found else 0
        documents = 0
        for document in await self._stores.documents.of_scope(scope, after=None, limit=1 << 30):
            gone = await self._stores.timeline.session(scope, session_of(document.document_id)) is None and not document.pending
            if gone or selector.takes_session(session_of(document.document_id)):
                await self._stores.documents.delete(scope, document.document_id)
                documents += 1
        await self._questions(scope, selector)
        counts = _added(erasure.counts, log_messages=erased, documents=documents)
        erasure = await self._records.put(erasure, step="leftovers", counts=counts)
        await failpoints.reach("erasure.after-leftovers")
        return erasure

    async def _questions(self, scope: Scope, selector: Selector) -> None:
        """Canary questions of the memory name nothing that is erased; those of a whole memory go with it."""
        if selector.kind == "everything":
            await self._stores.canaries.remove_all(scope)
            return
        for canary in await self._stores.canaries.of_scope(scope):
            known = await self._stores.timeline.lookup(scope, [event_key(scope, one) for one in canary.expect])
            if erased := erased_of(canary, known):
                await self._stores.canaries.put(canary.without(erased, now_us=microseconds(self._clock.now())))

    def _is_left(self, message: Message, scope: Scope, selector: Selector, reference: str) -> bool:
        sealed = _parsed(message)
        if sealed is None or sealed.scope != scope or sealed.is_erasure:
            return False
        return selector.kind == "everything" or sealed.key_reference == reference

    async def _calendar(self, erasure: Erasure) -> Erasure:
        """Nodes are written anew without what is gone, as far as somebody is there who writes; what cannot be read is erased once more."""
        scope = erasure.scope
        periods: dict[Period, EventKey] = {}
        async for said in self._said(erasure):
            periods |= {one.period: one.key for one in said.nodes if one.period.level != "segment"}
        if periods:
            await self._write_calendar(erasure)
            unreadable = await self._unreadable_nodes(scope, periods)
            if unreadable:
                # written while the key was being destroyed
                for start in range(0, len(unreadable), _NODES):
                    await self._append(
                        scope, envelopes.Erased(erasure_id=erasure.erasure_id, nodes=tuple(unreadable[start : start + _NODES]))
                    )
                await self._followed(await self._heads(), _WHOLE)
                histories = await self._stores.calendar.histories_by_keys(scope, [one.key for one in unreadable])
                await self._stores.log.erase([place for one in histories for place in one.erased])
                await self._write_calendar(erasure)
        erasure = await self._records.put(erasure, step="calendar")
        await failpoints.reach("erasure.after-calendar")
        return erasure

    async def _write_calendar(self, erasure: Erasure) -> None:
        seconds = self._settings.calendar_wait_s
        if not seconds:
            return
        run_id = f"erasure-{erasure.erasure_id}-{microseconds(self._clock.now())}"
        with suppress(Unavailable, DeadlineExceeded, Occupied):  # it stays due, and is written when somebody is there
            await self._work.ask("toc-day", run_id=run_id, arguments={}, timeout=seconds)
            await self._followed(await self._heads(), _WHOLE)

    async def _unreadable_nodes(self, scope: Scope, periods: Mapping[Period, EventKey]) -> list[ErasedNode]:
        newest = await self._stores.calendar.newest(scope, list(periods))
        standing = [one for one in newest.values() if not one.gone]
        found = []
        for start in range(0, len(standing), _BATCH):
            some = standing[start : start + _BATCH]
            messages = [one for one in await self._stores.log.read([one.position for one in some]) if one is not None]
            opened = await self._reader.open(messages)
            bad = {one.position for one in opened if isinstance(one, Unreadable) and one.erased}
            found += [ErasedNode(key=one.key, period=one.period, number=one.number) for one in some if one.position in bad]
        return found

    async def _engines(self, erasure: Erasure) -> Erasure:
        """The files of the projections hold nothing of it any more."""
        scope = erasure.scope
        if not _touched(erasure):
            return await self._records.put(erasure, step="engines")
        for name, purge in (("lexical", self._stores.lexicon.purge), ("vector", self._stores.vectors.purge)):
            for scope_key in (scope.key, scope.calendar.key):
                await self._purged(name, purge, scope_key)
        await self._stores.timeline.compact()
        await self._stores.calendar.compact()
        erasure = await self._records.put(erasure, step="engines")
        await failpoints.reach("erasure.after-engines")
        return erasure

    async def _purged(self, name: str, purge: Callable[[str], Awaitable[int]], scope_key: str) -> None:
        left = 0
        for _, pause in zip(range(_PURGES), pauses(first=0.5, longest=5.0), strict=False):
            left = await purge(scope_key)
            if not left:
                return
            await self._clock.sleep(pause)
        raise Unavailable(f"{left} entries are still in the files of {name}", dependency=name)

    async def _settled(self, erasure: Erasure) -> Erasure:
        """With replicas, the brokers' own logs of what they agreed on still hold what was taken out, until they are written anew."""
        if self._replicas > 1 and _touched(erasure):
            await self._stores.log.wash(sorted(await self._streams(erasure)))
            await self._stores.keys.wash()
            await self._clock.sleep(self._settings.raft_wait_s)
        return await self._records.put(erasure, step="settled")

    async def _streams(self, erasure: Erasure) -> set[str]:
        """The streams that had a message of what was erased: a memory that moved left some in its old one."""
        found: set[str] = set()
        async for said in self._said(erasure):
            places = await self._stores.timeline.positions(erasure.scope, said.keys)
            found |= {place.stream for some in places.values() for place in some}
        return found

    async def _prove(self, erasure: Erasure) -> Erasure:
        """Look for everything everywhere; if anything is found, do it again."""
        found, counts = (
            dict.fromkeys(("log", "timeline", "lexical", "vector", "keys"), 0),
            dict.fromkeys(("lexical", "vector", "timeline"), 0),
        )
        async for said in self._said(erasure):
            probed = await self._probe(erasure.scope, said.keys)
            found = {store: number + probed.left.get(store, 0) for store, number in found.items()}
            counts = {store: number + probed.gone.get(store, 0) for store, number in counts.items()}
            if probed.live:
                # the timeline knows them as erased, so nothing else would say it once more to an engine that has lost it
                await self._append(erasure.scope, envelopes.Erased(erasure_id=erasure.erasure_id, keys=tuple(probed.live)))
        selector = _selector(erasure)
        if selector.is_whole and selector.kind != "everything":
            found["keys"] = len(await self._stores.keys.get(erasure.scope, [key_reference(erasure.scope, selector.session)]))
        await failpoints.reach("erasure.after-probe")
        if any(found.values()):
            log.warning("something was still found", erasure=erasure.erasure_id, **found)
            await self._records.put(erasure, step="begin", probe=found)
            raise Unavailable("something was still found; it is erased again", dependency="erasure")
        return await self._records.put(erasure, step="probe", probe=found, counts={**erasure.counts, **counts})

    async def _finish(self, erasure: Erasure) -> None:
        times = erasure.times
        if "erased" not in times:
            times = {**times, "erased": microseconds(self._clock.now())}
            erasure = await self._records.put(erasure, times=times)
        receipt = await self._receipt(erasure, times["erased"])
        await self._stores.ledger.put(erasure.scope, erasure.erasure_id, receipt)
        await failpoints.reach("erasure.after-receipt")
        if erasure.with_memory:
            await self._stores.memories.remove(erasure.scope)
        erasure = await self._records.put(erasure, state="erased", selector=None)
        await self._records.forget_selector(erasure)
        await self._records.mark(erasure)
        await self._hidden.refresh()
        log.info("erased", erasure=erasure.erasure_id, **erasure.counts)

    async def _receipt(self, erasure: Erasure, erased_us: int) -> bytes:
        """The receipt, once what was erased is noted beside the backups, so that none brings it back."""
        if self._backed_up is None:
            return receipts.sign(erasure, self._signer)
        scope, whole = erasure.scope, erasure.selector_kind in {"session_id", "document_id", "everything"}
        ends = await self._backed_up.ends(scope, whole=whole, erased_us=erased_us)
        receipt = receipts.sign(erasure, self._signer, backups_expire_at=ends)
        said = []
        async for messages in self._read(scope, erasure.sweep, await self._heads()):
            parsed = ((message.body, _parsed(message)) for message in messages)
            said += [body for body, one in parsed if one is not None and _is_of(one, erasure)]
        await self._backed_up.note(scope, erasure.erasure_id, said=said, receipt=receipt, erased_us=erased_us)
        await failpoints.reach("erasure.after-note")
        return receipt

    async def _said(self, erasure: Erasure) -> AsyncIterator[envelopes.Erased]:
        """What the messages of *erasure* say."""
        async for messages in self._read(erasure.scope, erasure.sweep, await self._heads()):
            for opened in await self._reader.open([one for one in messages if _is_erasure(one)]):
                if isinstance(opened, OpenedErasure) and opened.said.erasure_id == erasure.erasure_id:
                    yield opened.said

    async def _read(self, scope: Scope, after: Floors, upto: Floors) -> AsyncIterator[Sequence[Message]]:
        """The messages of *scope* in the log behind *after* up to *upto*."""
        async with aclosing(self._stores.log.history(scope, after=after, upto=upto, limit=_BATCH)) as batches:
            async for messages in batches:
                yield messages

    async def _heads(self) -> dict[str, int]:
        return dict(await self._stores.log.heads(whole=True))

    async def _followed(self, floors: Floors, projections: tuple[str, ...]) -> None:
        if not await self._progress.reached(floors, projections, seconds=_FOLLOWED_S):
            raise DeadlineExceeded("a projection did not follow the log in time", dependency="index")


def _selector(erasure: Erasure) -> Selector:
    if erasure.selector is None:
        raise KalendsError("what an erasure under way names cannot be read")
    return erasure.selector


def _touched(erasure: Erasure) -> bool:
    """Whether anything was there to be erased."""
    return any(erasure.counts.values())


def _is_of(sealed: envelopes.Sealed, erasure: Erasure) -> bool:
    """Whether a message says what *erasure* erased."""
    try:
        return sealed.is_erasure and envelopes.erased(sealed).erasure_id == erasure.erasure_id
    except Damaged:
        return False


def _is_erasure(message: Message) -> bool:
    sealed = _parsed(message)
    return sealed is not None and sealed.is_erasure


def _parsed(message: Message) -> envelopes.Sealed | None:
    """The outside of a message; None of one that is damaged, which says of nobody that it is theirs and is a dead letter already."""
    try:
        return envelopes.parse(message.body)
    except Damaged:
        return None


def _added(counts: Mapping[str, int], **more: int) -> dict[str, int]:
    return {**counts, **{name: counts.get(name, 0) + number for name, number in more.items()}}
