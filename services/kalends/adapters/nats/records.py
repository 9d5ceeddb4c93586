"""Records on JetStream: one subject for each record, the revision is the sequence of its newest message.

Belongs here: subjects, the shape of a body, compare-and-set. Does not belong here: what records mean. A newcomer would get wrong: owner and
name are in the body, because the subject may hold digests of them; and a deleted record still has a newest message, which says so. A write
whose answer was lost is repeated with the same message id; if that is refused, our own first try may be what came first. And a message
whose bytes have changed on the disk is "not found" for whoever asks for it, while its subject is listed on.
"""

import asyncio
import hashlib
import secrets
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from kalends.adapters.nats import reading, streams
from kalends.adapters.nats.failures import answer
from kalends.adapters.nats.following import Followed, Follower
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import Conflict, Damaged, DeadlineExceeded, Invalid, Unavailable
from kalends.domain.scope import token
from kalends.kit.backoff import pauses
from kalends.ports.records import Listed, Record

_HEAD = struct.Struct(">BBII")
_VERSION = 1
_DELETED = 1
_LIST_LIMIT = 500
_ID = "Nats-Msg-Id"
_TRY_S = 1.5
"""After so long without an answer a write is repeated: a leader that has died does not answer."""
_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5
_SUBJECTS = "rec.v1."
_SLOTS = 256
_LISTED_AT_ONCE = 5_000
"""If there are more subjects, they are asked for slot by slot: an answer of 100,000 is 6 MB, and everything else waits while it is read."""
_READ_AT_ONCE = 100
"""An inventory is not in a hurry, and everything else waits while a piece of it is taken in."""
_DIGEST_BYTES = 16
_LOST = "a record that the store lists and cannot give: its bytes have changed; docs/reference/archive-format.md says what to do"


@dataclass(slots=True, kw_only=True)
class _Write:
    """One write over its repetitions; ``unknown``: an earlier try may have been stored."""

    subject: str
    body: bytes
    expected: int | None
    message_id: str = field(default_factory=lambda: secrets.token_hex(12))
    unknown: bool = False


class NatsRecords:
    """Versioned small values on the stream of records."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options

    async def get(self, kind: str, owner: str, name: str) -> Record | None:
        """The newest version, or None if there is none or it was deleted.

        Raises:
            Damaged: the broker lists it and cannot give it, or it is not what was written. Unavailable, DeadlineExceeded: the broker does
            not answer.
        """
        found = await self._newest(kind, owner, name)
        return None if found is None or found.deleted else found

    async def put(self, kind: str, owner: str, name: str, value: bytes, *, revision: int | None = None) -> int:
        """Write and return the new revision; with *revision*, only if that is the newest (0: there is none).

        Where the newest has been lost, the broker takes revision 0 for right (nats-server 2.15.1); another is a conflict for it.

        Raises:
            Conflict: another write came first. Damaged: the newest is lost. TooLarge: the value does not fit into a message. Throttled: the
            store is full. Unavailable, DeadlineExceeded: it is not known whether it was written.
        """
        subject, body = subject_of(kind, owner, name), pack(owner, name, value)
        write = _Write(subject=subject, body=body, expected=revision)
        self._requests.room.need_spare()
        async with self._requests.in_time():
            for wait in pauses(first=_PAUSE_S, longest=_LONGEST_PAUSE_S):
                try:
                    return await self._publish(write)
                except Conflict:
                    ours = await self._stored(write)
                    if ours is not None:
                        return ours
                    newest = await self._newest(kind, owner, name)
                    current = 0 if newest is None else newest.revision
                    if current == write.expected:
                        # a leader refuses over a write that its replicas have yet to confirm, and that nobody can read before
                        await asyncio.sleep(wait)
                    elif revision == 0 and newest is not None and newest.deleted:
                        write.expected = current
                    else:
                        raise
                except (Unavailable, DeadlineExceeded):
                    write.unknown = True
                    await asyncio.sleep(wait)
        raise AssertionError("pauses never end")

    async def delete(self, kind: str, owner: str, name: str) -> None:
        """Delete, also what is lost; what does not exist is no error.

        Raises:
            Unavailable, DeadlineExceeded: it is not known whether it was deleted.
        """
        with suppress(Damaged):
            newest = await self._newest(kind, owner, name)
            if newest is None or newest.deleted:
                return
        await self._mark_deleted(subject_of(kind, owner, name), pack(owner, name, b"", deleted=True))

    async def _mark_deleted(self, subject: str, body: bytes, *, expected: int | None = None) -> None:
        write = _Write(subject=subject, body=body, expected=expected)
        self._requests.room.need_spare()
        async with self._requests.in_time():
            for wait in pauses(first=_PAUSE_S, longest=_LONGEST_PAUSE_S):
                try:
                    await self._publish(write)
                except (Unavailable, DeadlineExceeded):
                    await asyncio.sleep(wait)
                else:
                    return

    async def list(self, kind: str, owner: str | None = None) -> Sequence[Record]:
        """Newest versions of a kind, of one owner or of all, ordered by owner and name; without the deleted, and without the lost.

        Of what is lost a reader hears nothing, but that the end comes later than it should.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        found: dict[tuple[str, str], Record] = {}
        subjects = filter_of(kind, owner)
        last = await self._last(subjects)
        seen = 0
        async with self._follower(subjects) as follower:
            await follower.ready()
            while seen < last or not follower.caught_up:
                taken = await follower.take(wait=self._options.request_timeout)
                if not taken and not self._requests.link.connected.is_set():
                    raise self._requests.link.down()
                if not taken and (seen < last or not follower.caught_up):
                    raise DeadlineExceeded("nats: a list did not come in time", dependency="nats")
                for one in taken:
                    seen = one.about.sequence
                    record = _record(kind, one)
                    found[record.owner, record.name] = record
        return [found[key] for key in sorted(found) if not found[key].deleted]

    async def watch(self, kind: str) -> AsyncGenerator[Record | None, None]:
        """Everything of a kind that exists now, then None once, then every change as it comes; goes on when the broker comes back.

        Raises:
            Unavailable, DeadlineExceeded: the broker did not answer at the start.
        """
        subjects = filter_of(kind, None)
        last = await self._last(subjects)
        seen = 0
        async with self._follower(subjects) as follower:
            await follower.ready()
            starting = True
            while True:
                if starting and seen >= last and follower.caught_up:
                    starting = False
                    yield None
                for one in await follower.take(wait=self._options.idle):
                    seen = one.about.sequence
                    record = _record(kind, one)
                    if not (starting and record.deleted):
                        yield record

    async def head(self) -> int:
        """The revision of the last write of all.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        return await self._count("last_seq")

    async def _count(self, name: str) -> int:
        state = (await self._requests.api(f"STREAM.INFO.{streams.RECORDS}", repeat=True)).get("state")
        return int(state.get(name, 0)) if isinstance(state, dict) else 0

    async def inventory(self) -> AsyncGenerator[Sequence[Listed], None]:
        """Everything that is listed, ascending by place, which is the subject without what all have in common; piece by piece.

        With replicas it is the leader's word. Owners are spread over the slots.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        window = min(_READ_AT_ONCE, self._options.reads_in_flight)
        is_small = await self._count("num_subjects") <= _LISTED_AT_ONCE
        for part in [">"] if is_small else [f"{slot}.>" for slot in sorted(map(str, range(_SLOTS)))]:
            subjects = await reading.subjects_of(self._requests, streams.RECORDS, _SUBJECTS + part)
            for start in range(0, len(subjects), window):
                piece = subjects[start : start + window]
                yield [_listed(subject, found) for subject, found in zip(piece, await self._last_of(piece), strict=True)]

    async def give_up(self, place: str) -> None:
        """Delete what is lost at *place*; what can be read stays.

        Raises:
            Unavailable, DeadlineExceeded: it is not known whether it was deleted.
        """
        subject = _SUBJECTS + place
        if (await self._last_of([subject]))[0] is not None or not await reading.subjects_of(self._requests, streams.RECORDS, subject):
            return
        # a digest in the place of a name is the name of nothing, so nobody takes this for something else
        owner, _, name = place.split(".")[-3:]
        body = pack(owner, name, b"", deleted=True)
        try:
            await self._mark_deleted(subject, body, expected=0)
        except Conflict:  # it was written meanwhile; or this broker holds that there is something
            if (await self._last_of([subject]))[0] is None:
                await self._mark_deleted(subject, body)

    async def _last_of(self, subjects: Sequence[str]) -> Sequence[reading.Stored | None]:
        read = reading.last_from_leader if self._options.replicas > 1 else reading.last_by_subject
        return await read(self._requests, streams.RECORDS, subjects, window=self._options.reads_in_flight)

    async def _last(self, subjects: str) -> int:
        """What a list must reach; without replicas a reader's own word for being at the end is enough."""
        return await reading.newest_sequence(self._requests, streams.RECORDS, subjects) if self._options.replicas > 1 else 0

    def _follower(self, filter_subject: str) -> Follower:
        return Follower(
            requests=self._requests,
            options=self._options,
            after={streams.RECORDS: 0},
            limit=_LIST_LIMIT,
            filter_subject=filter_subject,
            newest_only=True,
        )

    async def _newest(self, kind: str, owner: str, name: str) -> Record | None:
        subject = subject_of(kind, owner, name)
        (found,) = await self._last_of([subject])
        if found is None and await reading.subjects_of(self._requests, streams.RECORDS, subject):
            (found,) = await self._last_of([subject])  # it may have been written between the two
            if found is None:
                raise Damaged(_LOST)
        return None if found is None else _unpacked(kind, found.body, revision=found.sequence)

    async def _stored(self, write: _Write) -> int | None:
        """The revision that an earlier try of *write* made, if that is what refused this one: it follows right behind what was expected."""
        if not write.unknown or write.expected is None:
            return None
        wanted: dict[str, object] = {"seq": write.expected + 1, "next_by_subj": write.subject}
        found = await reading.raw_from_leader(self._requests, streams.RECORDS, wanted)
        if found is None or found[1].get(_ID) != write.message_id:
            return None
        return int(str(found[0]["seq"]))

    async def _publish(self, write: _Write) -> int:
        self._requests.link.fits(len(write.body) + 512)
        headers = f"{_ID}: {write.message_id}\r\n"
        if write.expected is not None:
            headers += f"Nats-Expected-Last-Subject-Sequence: {write.expected}\r\n"
        reply = await self._requests.ask(write.subject, write.body, headers=headers.encode(), within=_TRY_S)
        return int(str(answer(reply.data)["seq"]))


def subject_of(kind: str, owner: str, name: str) -> str:
    """The subject of a record."""
    return f"rec.v1.{_slot(owner)}.{token(owner)}.{_kind(kind)}.{token(name)}"


def filter_of(kind: str, owner: str | None) -> str:
    """The subjects of all records of a kind, of one owner or of all."""
    return f"rec.v1.*.*.{_kind(kind)}.*" if owner is None else f"rec.v1.{_slot(owner)}.{token(owner)}.{_kind(kind)}.*"


def _slot(owner: str) -> int:
    return hashlib.blake2b(owner.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]


def _kind(kind: str) -> str:
    if token(kind) != kind:
        raise Invalid(f"a kind of record cannot be called {kind!r}")
    return kind


def pack(owner: str, name: str, value: bytes, *, deleted: bool = False) -> bytes:
    """A record as a body: version, whether it is deleted, and the three parts, the first two with their lengths."""
    first, second = owner.encode(), name.encode()
    return _HEAD.pack(_VERSION, _DELETED if deleted else 0, len(first), len(second)) + first + second + value


def unpack(body: bytes) -> tuple[str, str, bytes, bool]:
    """Owner, name, value, and whether it is deleted.

    Raises:
        Damaged: the bytes are not what ``pack`` makes.
    """
    try:
        version, flags, first, second = _HEAD.unpack_from(body)
        end = _HEAD.size + first
        if version != _VERSION or len(body) < end + second:
            raise Damaged("a record that cannot be read")
        return body[_HEAD.size : end].decode(), body[end : end + second].decode(), body[end + second :], bool(flags & _DELETED)
    except (struct.error, UnicodeDecodeError) as error:
        raise Damaged("a record that cannot be read") from error


def _listed(subject: str, found: reading.Stored | None) -> Listed:
    digest = b"" if found is None else hashlib.blake2b(found.body, digest_size=_DIGEST_BYTES).digest()
    return Listed(place=subject.removeprefix(_SUBJECTS), revision=0 if found is None else found.sequence, digest=digest)


def _unpacked(kind: str, body: bytes, *, revision: int) -> Record:
    owner, name, value, deleted = unpack(body)
    return Record(kind=kind, owner=owner, name=name, value=value, revision=revision, deleted=deleted)


def _record(kind: str, one: Followed) -> Record:
    message: Msg = one.message
    return _unpacked(kind, message.data, revision=one.about.sequence)
