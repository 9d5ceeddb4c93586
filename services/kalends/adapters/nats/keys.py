"""Wrapped data keys on JetStream: one message for each key, in a stream that lets messages be deleted for good.

Belongs here: storing, finding and destroying wrapped keys. Does not belong here: wrapping them. A newcomer would get wrong: purging leaves
the bytes readable on disk (measured); only deleting the single message overwrites them.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

from kalends.adapters.nats import erasing, reading, streams
from kalends.adapters.nats.failures import BATCH_LOST, STALE, accepted, decoded, refusal_code
from kalends.adapters.nats.following import Follower
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Question, Requests, frame, release
from kalends.domain.errors import Conflict, DeadlineExceeded, Invalid, Unavailable
from kalends.domain.scope import Scope, token
from kalends.kit.backoff import pauses

_REFERENCE = re.compile(r"[0-9a-f]{32}")
_NEW = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"
_ALONE = 1
_ALONE_UNREPLICATED = 8
"""Up to so many keys are stored each for itself. Without replicas the broker puts a batch into a store of its own first, with files that it
makes and removes again and four syncs; eight messages with a sync each take half the time and half the CPU of that (nats-server 2.15.1)."""
_TRIES = 5
_TRY_S = 1.5
"""After so long without an answer what is to be stored is looked for and stored again: a leader that has died does not answer."""
_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class NatsKeys:
    """Wrapped data keys by scope and reference."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options
        self._alone = _ALONE if options.replicas > 1 else _ALONE_UNREPLICATED

    async def get(self, scope: Scope, references: Sequence[str]) -> Mapping[str, bytes]:
        """The wrapped keys that exist, by reference.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        found = await self._find(scope, references)
        return {reference: stored.body for reference, stored in found.items()}

    async def create(self, scope: Scope, wrapped: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Store those that do not exist yet; what is stored now under each reference (somebody else's, if they were first).

        Raises:
            Throttled: the store is full. Unavailable, DeadlineExceeded: some may be stored; again is safe.
        """
        self._requests.room.need()
        items = list(wrapped.items())
        stored: dict[str, bytes] = {}
        for start in range(0, len(items), self._options.batch_max):
            part = dict(items[start : start + self._options.batch_max])
            stored.update(await self._create(scope, part))
        return stored

    async def references(self, scope: Scope, *, limit: int) -> AsyncGenerator[Mapping[str, bytes], None]:
        """Every wrapped key of *scope* that exists when it is asked, in the order in which they were made.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        subjects = _subjects_of(scope)
        last = await self._last(subjects)
        seen = 0
        async with Follower(
            requests=self._requests, options=self._options, after={streams.KEYS: 0}, limit=limit, filter_subject=subjects
        ) as follower:
            await follower.ready()
            while seen < last or not follower.caught_up:
                taken = await follower.take(wait=self._options.request_timeout)
                if not taken and not self._requests.link.connected.is_set():
                    raise self._requests.link.down()
                if not taken and follower.caught_up:
                    last = await self._last(subjects)  # what was the last one may have been destroyed meanwhile
                if not taken and (seen < last or not follower.caught_up):
                    raise DeadlineExceeded("nats: a list of keys did not come in time", dependency="nats")
                seen = max([seen, *(one.about.sequence for one in taken)])
                piece: dict[str, bytes] = {}
                for one in taken:
                    reference = one.message.subject.rpartition(".")[2]
                    if reference in piece:
                        yield piece
                        piece = {}
                    piece[reference] = one.message.data
                yield piece

    async def _last(self, subjects: str) -> int:
        """What a list must reach; without replicas a reader's own word for being at the end is enough."""
        return await reading.newest_sequence(self._requests, streams.KEYS, subjects) if self._options.replicas > 1 else 0

    async def count(self) -> int:
        """How many keys there are, of all scopes together.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        state = (await self._requests.api(f"STREAM.INFO.{streams.KEYS}", repeat=True)).get("state")
        return int(state["messages"]) if isinstance(state, dict) else 0

    async def destroy(self, scope: Scope, references: Sequence[str]) -> None:
        """Delete keys so that their bytes are gone from the store's files; those that do not exist are no error.

        Raises:
            Unavailable, DeadlineExceeded: some may still be there; again is safe.
        """
        for _ in range(_TRIES):
            found = await self._find(scope, references)
            if not found:
                return
            await erasing.erase(self._requests, streams.KEYS, sorted(stored.sequence for stored in found.values()))
        raise Conflict("keys are being made as fast as they are destroyed")

    async def wash(self) -> None:
        """Have the replicas write their own logs anew, without the keys that were destroyed; without replicas there are none.

        Raises:
            Unavailable: a replica is away or behind; again later is safe. DeadlineExceeded: the broker does not answer.
        """
        if self._options.replicas > 1:
            await erasing.wash(self._requests, streams.KEYS)

    async def destroy_all(self, scope: Scope) -> int:
        """Delete every key of *scope* so that their bytes are gone from the store's files; how many were there.

        Raises:
            Unavailable, DeadlineExceeded: some may still be there; again is safe.
        """
        gone = 0
        for _ in range(_TRIES):
            references = [reference async for piece in self.references(scope, limit=self._options.batch_max) for reference in piece]
            if not references:
                return gone
            await self.destroy(scope, references)
            gone += len(references)
        raise Conflict("keys are being made as fast as they are destroyed")

    async def replace(self, scope: Scope, changes: Mapping[str, tuple[bytes, bytes]]) -> Sequence[str]:
        """Where what is stored is the first of the two, store the second and overwrite the first; the references of which that was so.

        Raises:
            Throttled: the store is full. Unavailable, DeadlineExceeded: some may be replaced; again is safe.
        """
        self._requests.room.need_spare()
        items = list(changes.items())
        replaced: list[str] = []
        for start in range(0, len(items), self._options.batch_max):
            replaced += await self._replace(scope, dict(items[start : start + self._options.batch_max]))
        return replaced

    async def _replace(self, scope: Scope, changes: Mapping[str, tuple[bytes, bytes]]) -> list[str]:
        found = await self._find(scope, list(changes))
        await self._overwrite_older(found.values())
        due = {reference: stored for reference, stored in found.items() if stored.body == changes[reference][0]}
        questions: list[Question] = [
            (stored.subject, changes[reference][1], f"Nats-Expected-Last-Subject-Sequence: {stored.sequence}\r\n".encode())
            for reference, stored in due.items()
        ]
        replaced = []
        if len(questions) > self._alone and await self._batch(questions):
            replaced = list(due)
        else:
            for reference, message in zip(due, await self._requests.ask_all(questions, within=_TRY_S), strict=True):
                reply = decoded(message.data)
                if refusal_code(reply) not in STALE:
                    accepted(reply)
                    replaced.append(reference)
        await erasing.erase(self._requests, streams.KEYS, [due[reference].sequence for reference in replaced])
        return replaced

    async def _overwrite_older(self, newest: Collection[reading.Stored]) -> None:
        """Delete what stands before *newest* on their subjects, which only a ``replace`` that was cut off leaves."""
        questions: list[dict[str, object]] = [{"next_by_subj": stored.subject, "seq": 1} for stored in newest]
        first = await reading.matching(self._requests, streams.KEYS, questions, window=self._options.reads_in_flight)
        older = [old.sequence for old, new in zip(first, newest, strict=True) if old is not None and old.sequence < new.sequence]
        await erasing.erase(self._requests, streams.KEYS, older)

    async def _create(self, scope: Scope, wrapped: Mapping[str, bytes]) -> dict[str, bytes]:
        missing = dict(wrapped)
        stored: dict[str, bytes] = {}
        async with self._requests.in_time():
            for wait in pauses(first=_PAUSE_S, longest=_LONGEST_PAUSE_S):
                try:
                    lost = await self._store(scope, missing)
                except (Unavailable, DeadlineExceeded):
                    lost = set(missing)  # some may be stored: what is there now decides
                if not lost:
                    return {**stored, **missing}
                found = await self._find(scope, sorted(lost))
                stored.update({reference: key for reference, key in missing.items() if reference not in lost})
                stored.update({reference: one.body for reference, one in found.items()})
                missing = {reference: key for reference, key in missing.items() if reference not in stored}
                if not missing:
                    return stored
                # what was first may be on its way to the replicas still, and nobody can read it before
                await asyncio.sleep(wait)
        raise AssertionError("pauses never end")

    async def _store(self, scope: Scope, wrapped: Mapping[str, bytes]) -> set[str]:
        """Store those that are new; the references under which there was something already."""
        messages = [(subject_of(scope, reference), key, _NEW) for reference, key in wrapped.items()]
        if len(messages) > self._alone and await self._batch(messages):
            return set()
        lost = set()
        for reference, message in zip(wrapped, await self._requests.ask_all(messages, within=_TRY_S), strict=True):
            reply = decoded(message.data)
            if refusal_code(reply) in STALE:
                lost.add(reference)
            else:
                accepted(reply)
        return lost

    async def _batch(self, messages: Sequence[Question]) -> bool:
        """Store all messages (subject, body, condition) with one sync, or none; False if a condition of one does not hold."""
        batch_id = secrets.token_hex(8)
        reply, future = self._requests.expect()
        frames = []
        for number, (subject, key, condition) in enumerate(messages, start=1):
            lines = condition + f"Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n".encode()
            last = number == len(messages)
            headers = lines + b"Nats-Batch-Commit: 1\r\n" if last else lines
            frames.append(frame(subject, key, reply=reply if last else "", headers=headers))
        try:
            async with self._requests.in_time(_TRY_S):
                await self._requests.link.connected.wait()
                await self._requests.link.send(b"".join(frames), messages=len(frames))
                answered = decoded((await future).data)
        finally:
            release([future])
        code = refusal_code(answered)
        if code in STALE or code in BATCH_LOST:
            return False
        accepted(answered)
        return True

    async def _find(self, scope: Scope, references: Sequence[str]) -> dict[str, reading.Stored]:
        unique = list(dict.fromkeys(references))
        subjects = [subject_of(scope, reference) for reference in unique]
        # no key means "erased", so one that a lagging replica, or a broker amid a replacing, does not find is asked for again
        found = await reading.last_by_subject(self._requests, streams.KEYS, subjects, window=self._options.reads_in_flight, confirm=True)
        return {reference: stored for reference, stored in zip(unique, found, strict=True) if stored is not None}


def subject_of(scope: Scope, reference: str) -> str:
    """The subject of a key.

    Raises:
        Invalid: the reference is not 32 hex digits.
    """
    if not _REFERENCE.fullmatch(reference):
        raise Invalid("a key reference must be 32 hex digits")
    return _subjects_of(scope).removesuffix("*") + reference


def _subjects_of(scope: Scope) -> str:
    """The subjects of all keys of *scope*."""
    return f"key.v1.{scope.slot}.{token(scope.tenant)}.{token(scope.memory)}.*"
