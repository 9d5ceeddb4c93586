"""Taking single messages out of a stream so that the broker overwrites their bytes.

Belongs here: secure deletes, several under way at once. Does not belong here: which messages (the stores), or which streams there are
(``whereabouts``). A newcomer would get wrong: only the delete of a single message overwrites it; a purge leaves everything readable on disk
(measured). And with replicas the servers' own logs of what they agreed on hold the body until they are written anew, which an idle stream
does after minutes and a busy one after 8 MB; ``wash`` makes a stream busy with nothing (docs/decisions/0020).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence

from kalends.adapters.nats import reading
from kalends.adapters.nats.failures import DEPENDENCY, NO_MESSAGE, RETRY_AFTER, accepted, decoded, refusal_code
from kalends.adapters.nats.requests import Question, Requests
from kalends.domain.errors import Unavailable
from kalends.kit.backoff import pauses

IN_FLIGHT = 32
"""Deletes under way at once; each one is a synced write, so a window of them must be done well within the time for one question."""

WASHES = 40_000
"""Messages of nothing that fill an agreed log twice over; they take about ten seconds on three servers of one machine."""

_WASHED_AT_ONCE = 1_000
_NOWHERE = (1 << 63) - 1
_LOOKS = 20
_SILENT_NS = 3_000_000_000
"""A replica that was not heard of for so long is away; they are heard of every second, and called offline only after ten."""

_NOT_THERE = frozenset({NO_MESSAGE, 10043})
_FAILED = 10057
"""The broker's word for any delete that did not happen, and so also for one of a message that is not there."""


async def erase(requests: Requests, stream: str, sequences: Sequence[int]) -> int:
    """Take the messages at *sequences* out of *stream* for good; how many were there. What is gone already is no error.

    Raises:
        KalendsError: the broker refuses or does not answer; some may still be there, and again is safe.
    """
    erased = 0
    for start in range(0, len(sequences), IN_FLIGHT):
        piece = sequences[start : start + IN_FLIGHT]
        questions: list[Question] = [(f"$JS.API.STREAM.MSG.DELETE.{stream}", _body(sequence), b"") for sequence in piece]
        answers = [decoded(message.data) for message in await requests.ask_all(questions, repeat=True)]
        for sequence, answered in zip(piece, answers, strict=True):
            code = refusal_code(answered)
            if code in _NOT_THERE:
                continue
            if code == _FAILED and await reading.raw_from_leader(requests, stream, {"seq": sequence}) is None:
                continue
            accepted(answered)
            erased += 1
    return erased


async def wash(requests: Requests, stream: str) -> None:
    """Fill the replicas' logs of *stream* until each has written its own anew, without what was erased before; the stream stays as it is.

    What fills them is deletes of a message that cannot be. An agreed log is written anew once 8 MB were added to it (measured: after 16,000
    to 24,000 of these), by every replica for itself, so one that is behind has not done so yet.

    Raises:
        Unavailable: a replica is away or behind, and may hold anything; again later is safe. KalendsError: the broker refuses.
    """
    await whole(requests, stream)
    nothing: list[Question] = [(f"$JS.API.STREAM.MSG.DELETE.{stream}", _body(_NOWHERE), b"")] * _WASHED_AT_ONCE
    for _ in range(0, WASHES, _WASHED_AT_ONCE):
        await requests.ask_all(nothing, repeat=True)
        # a replica that dies now must be noticed before the others have forgotten what it has not done
        await whole(requests, stream)


async def whole(requests: Requests, stream: str) -> None:
    """Return once every replica of *stream* is there and has all of it.

    A replica that was away while the others erased, and comes back when they have forgotten that they did, only hears that the message is
    not there any more, and leaves its bytes where they are (measured). So nothing is erased, and nothing washed, while one is away.

    Raises:
        Unavailable: one is away or behind.
    """
    for _, pause in zip(range(_LOOKS), pauses(first=0.05, longest=0.5), strict=False):
        if not _behind(await requests.api(f"STREAM.INFO.{stream}", repeat=True)):
            return
        await asyncio.sleep(pause)
    raise Unavailable("nats: a replica is away or behind, and would keep what is erased", dependency=DEPENDENCY, retry_after=RETRY_AFTER)


def _behind(info: Mapping[str, object]) -> bool:
    cluster = info.get("cluster")
    replicas = cluster.get("replicas", []) if isinstance(cluster, dict) else []
    return any(not one.get("current") or one.get("offline") or one.get("lag") or one.get("active", 0) > _SILENT_NS for one in replicas)


def _body(sequence: int) -> bytes:
    # said outright, though it is what the broker does unless told otherwise: with ``no_erase`` the bytes stay
    return json.dumps({"seq": sequence, "no_erase": False}).encode()
