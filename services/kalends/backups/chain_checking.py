"""Checking the archive of the log: its links, every byte of its segments, and that the log still says what it did.

Belongs here: what is looked at, what is said of it, and taking out of the archive what was erased from the log. Does not belong here:
copying (``archiving``), or how records are looked through (``record_checking``). A newcomer would get wrong: a place that is empty in the
log is no break if an erasure explains it, and such a message must leave the archive too: its session's key may live on, so that a copy of
it could still be read.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
import structlog

from kalends.backups.chains import Chain, Kept, Told
from kalends.backups.copies import learn
from kalends.backups.record_checking import CheckRecords, Found
from kalends.backups.resealing import Resealing
from kalends.domain.backups import Gone
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventKey, event_key
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.log import Log, Message
from kalends.wire import envelopes, links
from kalends.wire.links import Link, Logged
from kalends.wire.running import Report

log = structlog.get_logger(__name__)

_BATCH = 500
_GIVE_WAY_S = 0.2
_SHOWN = 5
_SHOWN_RECORDS = 50
"""Of the records more is named: each is something that somebody may have to make again."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What a check found; ``flaws`` in words, each names a link, a segment and where in it, or a place of the log."""

    links: int = 0
    messages: int = 0
    bytes: int = 0
    erased: int = 0
    flaws: list[str] = field(default_factory=list)
    records: Found = field(default_factory=Found)

    @property
    def breaks(self) -> Sequence[str]:
        """The flaws of the log and its archive, and those of the records."""
        return [*self.flaws, *self.records.flaws]

    @property
    def text(self) -> str:
        """One line for people."""
        given_up = f"; {self.records.given_up} lost records were given up" if self.records.given_up else ""
        if self.breaks:
            return _shown([*self.flaws[:_SHOWN], *self.records.flaws], _SHOWN_RECORDS, of=len(self.breaks)) + given_up
        erased = f", {self.erased} were erased or brought back, and left it" if self.erased else ""
        log_is = (
            f"{self.links} links with {self.messages} messages in {self.bytes} bytes are what was written, and what the log says{erased}"
        )
        return f"{log_is}; {self.records.records} records can be read{given_up}"

    @property
    def status(self) -> str:
        """The same without the names of records, which are not for everybody; empty where there are none in it."""
        if not self.records.flaws:
            return ""
        return _shown([self.records.without_names, *self.flaws], _SHOWN)


def _shown(flaws: Sequence[str], most: int, *, of: int = 0) -> str:
    left = max(of, len(flaws)) - len(flaws[:most])
    return "; ".join(flaws[:most]) + (f"; and {left} more" if left else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """A message of the archive that the log has no more."""

    link: int
    stream: str
    sequence: int
    scope: Scope
    key: EventKey | None
    recorded_us: int


@dataclass(slots=True)
class _Seen:
    """What a check remembers from link to link."""

    gone: dict[Scope, Gone] = field(default_factory=dict)
    last_us: dict[Scope, int] = field(default_factory=dict)
    """Per memory, when its last erasure was."""

    restored: set[EventKey] = field(default_factory=set)
    """Events that a restore in place has brought back."""

    missing: list[_Missing] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)

    def learn(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Take in what a message says of erasures, and whether a restore wrote it."""
        sealed = _parsed(body)
        if sealed is None:
            return
        if sealed.event_id is not None and Resealing.HEADER in headers:
            self.restored.add(event_key(sealed.scope, sealed.event_id))
        if sealed.is_erasure:
            learn(self.gone.setdefault(sealed.scope, Gone()), body)
            self.last_us[sealed.scope] = max(sealed.recorded_us, self.last_us.get(sealed.scope, 0))

    def explains(self, one: _Missing) -> bool:
        """Whether an erasure took a message out, or it was brought back. What is sealed any later erasure of its memory may have taken."""
        if one.key in self.restored:
            return True
        if one.key is not None and one.scope in self.gone:
            return self.gone[one.scope].has_event(one.key, session=None, recorded_us=one.recorded_us)
        return one.key is None and one.recorded_us <= self.last_us.get(one.scope, -1)


class CheckArchive:
    """Checks the archive of the log and the records, and takes out of the archive what was erased."""

    def __init__(self, *, chain: Chain, records: CheckRecords, source: Log, clock: Clock, traffic: Traffic) -> None:
        self._chain = chain
        self._records = records
        self._log = source
        self._clock = clock
        self._traffic = traffic

    async def __call__(self, report: Report = lambda _done, _total: None, *, accept_lost: bool = False) -> Verdict:
        """Look at everything, and note what came of it; *report* is told how many links of how many were looked at.

        With *accept_lost* the records are taken as they are, and those that cannot be read are given up.

        Raises:
            Misconfigured: the key-encryption key is not here. Unavailable, DeadlineExceeded: a store does not answer; nothing is noted.
        """
        noted = await self._chain.noted()
        records = await self._records(number=noted.inventory, sha256=noted.inventory_sha256, accept_lost=accept_lost)
        verdict, seen = Verdict(records=records), _Seen()
        names = await self._chain.names()
        wanted = [name for name in sorted(names) if "/link-" in name]
        found = await self._links(wanted, verdict)
        for number, link in enumerate(found.values()):
            await self._segment(link, names, verdict, seen)
            report(number + 1, len(found))
        await self._rest(list(found.values()), seen)
        erased = [one for one in seen.missing if seen.explains(one)]
        for one in seen.missing:
            if not seen.explains(one):
                verdict.flaws.append(
                    f"the log has lost the message {one.sequence} of {one.stream}, which link {one.link} of its archive has"
                )
        if not seen.gone:
            verdict.flaws += [f"{hole}, and nothing was ever erased" for hole in seen.holes]
        if not verdict.flaws:
            verdict.erased = await self._take_out(found, erased)
            await self._clear(found)
        await self._note(verdict)
        return verdict

    async def _note(self, verdict: Verdict) -> None:
        kept = verdict.records.kept
        inventory = {} if kept is None else {"inventory": kept.head.number, "inventory_sha256": kept.sha256}
        await self._chain.note(
            checked_at=self._clock.now(), breaks=len(verdict.breaks), told=verdict.text, status=verdict.status, **inventory
        )

    async def _links(self, names: Sequence[str], verdict: Verdict) -> Mapping[int, Link]:
        """The links that can be read, by number; each was held against the one before."""
        found: dict[int, Link] = {}
        noted, before = await self._chain.noted(), None
        count = max(noted.number + 1, *(int(name.rpartition("-")[2]) + 1 for name in names), 0)
        for number in range(count):
            kept: Kept | None = None
            try:
                kept = await self._chain.link(links.name_of(self._chain.log_id, number))
                if number == 0 or before is not None:
                    links.check_next(None if before is None else before.link, None if before is None else before.sha256, kept.link)
            except Damaged as error:
                verdict.flaws.append(error.detail)
            if kept is not None and number == noted.number and kept.sha256 != noted.sha256:
                verdict.flaws.append(f"{kept.link.name} is not the one that was written")
            before = kept
            if kept is not None:
                found[number] = kept.link
        verdict.links = len(found)
        return found

    async def _segment(self, link: Link, names: Mapping[str, int], verdict: Verdict, seen: _Seen) -> None:
        """One link's messages, as its last amendment has them, held against the log."""
        try:
            newest = await self._amended(link, names)
            there: dict[str, list[int]] = {}
            async with aclosing(self._chain.messages(newest)) as frames:
                async for items in frames:
                    for start in range(0, len(items), _BATCH):
                        await self._compare(link, items[start : start + _BATCH], verdict, seen)
                    for one in items:
                        there.setdefault(one.stream, []).append(one.sequence)
            _check_whole(newest, there)
            seen.holes += [
                f"{link.name}: the log has nothing from {first} to {last} of {stream}"
                for stream, some in link.holes.items()
                for first, last in some
            ]
        except Damaged as error:
            verdict.flaws.append(error.detail)
            return
        verdict.messages += newest.messages
        verdict.bytes += newest.bytes

    async def _amended(self, link: Link, names: Mapping[str, int]) -> Link:
        """The last amendment of *link*, or itself; each takes the place of the one before and takes nothing in.

        Raises:
            Damaged: one does not.
        """
        kept = await self._chain.link(link.name)
        while (name := links.name_of(link.log_id, link.number, amends=kept.link.amends + 1)) in names:
            after = await self._chain.link(name)
            same = after.link.streams == link.streams and after.link.key == link.key and after.link.previous_sha256 == kept.sha256
            if not same or after.link.messages > kept.link.messages:
                raise Damaged(f"{name} is no amendment of what it takes the place of")
            kept = after
        return kept.link

    async def _compare(self, link: Link, items: Sequence[Logged], verdict: Verdict, seen: _Seen) -> None:
        await self._traffic.give_way(at_most=_GIVE_WAY_S)
        for one, message in zip(items, await self._log.read([Position(one.stream, one.sequence) for one in items]), strict=True):
            seen.learn(one.body, one.headers)
            if message is None:
                sealed = _parsed(one.body)
                if sealed is None:
                    verdict.flaws.append(
                        f"the log has lost the message {one.sequence} of {one.stream}, which cannot be read in {link.segment}"
                    )
                    continue
                key = None if sealed.event_id is None else event_key(sealed.scope, sealed.event_id)
                at_us = sealed.recorded_us
                missing = _Missing(
                    link=link.number, stream=one.stream, sequence=one.sequence, scope=sealed.scope, key=key, recorded_us=at_us
                )
                seen.missing.append(missing)
            elif not _equal(one, message):
                verdict.flaws.append(f"the message {one.sequence} of {one.stream} in the log is not what {link.segment} has")

    async def _rest(self, found: Sequence[Link], seen: _Seen) -> None:
        """What was erased since the archive's end."""
        upto = dict(found[-1].upto) if found else {}
        for stream, head in sorted((await self._log.heads()).items()):
            for start in range(upto.get(stream, 0) + 1, head + 1, _BATCH):
                places = [Position(stream, sequence) for sequence in range(start, min(start + _BATCH, head + 1))]
                for message in await self._log.read(places):
                    if message is not None:
                        seen.learn(message.body, message.headers)

    async def _take_out(self, found: Mapping[int, Link], erased: Sequence[_Missing]) -> int:
        """Write the segments anew that hold what was erased, without it; how many messages went."""
        by_link: dict[int, set[tuple[str, int]]] = {}
        for one in erased:
            by_link.setdefault(one.link, set()).add((one.stream, one.sequence))
        for number, gone in by_link.items():
            await self._amend(found[number], gone)
        return len(erased)

    async def _amend(self, link: Link, gone: set[tuple[str, int]]) -> None:
        names = await self._chain.names()
        before = await self._amended(link, names)
        kept = await self._chain.link(before.name)
        holes: dict[str, list[tuple[int, int]]] = {}
        for stream in before.streams:
            empty = {one for first, last in before.holes.get(stream, []) for one in range(first, last + 1)}
            empty |= {sequence for name, sequence in gone if name == stream}
            if empty:
                holes[stream] = links.ranges(sorted(empty))
        wanted = msgspec.structs.replace(
            before, amends=before.amends + 1, made_at=self._clock.now(), previous_sha256=kept.sha256, signature=""
        )
        try:
            await self._chain.add(wanted, self._without(before, gone), Told(streams=dict(before.streams), holes=holes))
        except Conflict:
            log.info("another process takes out of the archive what was erased")
            return
        await self._chain.drop(before.segment)

    async def _clear(self, found: Mapping[int, Link]) -> None:
        """Take away the segments of those that came late or were killed: their link is there and names another."""
        names = await self._chain.names()
        named = {(await self._amended(link, names)).segment for link in found.values()}
        for name in names:
            if "/segment-" in name and int(name.split("-")[-2]) in found and name not in named:
                await self._chain.drop(name)

    async def _without(self, link: Link, gone: set[tuple[str, int]]) -> AsyncIterator[Logged]:
        async with aclosing(self._chain.messages(link)) as frames:
            async for items in frames:
                for one in items:
                    if (one.stream, one.sequence) not in gone:
                        yield one


def _check_whole(link: Link, there: Mapping[str, Sequence[int]]) -> None:
    """See that each place of a link is a message or a hole, once and in order.

    Raises:
        Damaged: it is not.
    """
    for stream, (after, upto) in link.streams.items():
        holes = [one for first, last in link.holes.get(stream, []) for one in range(first, last + 1)]
        found = list(there.get(stream, []))
        if sorted([*found, *holes]) != list(range(after + 1, upto + 1)) or found != sorted(found):
            raise Damaged(f"{link.segment} does not have {after + 1} to {upto} of {stream}")


def _equal(one: Logged, message: Message) -> bool:
    return one.body == message.body and one.recorded_us == message.recorded_us and one.headers == dict(message.headers)


def _parsed(body: bytes) -> envelopes.Sealed | None:
    try:
        return envelopes.parse(body)
    except Damaged:
        return None
