"""Reading messages by sequence or by subject, without a consumer.

Belongs here: direct gets and the shape of what they answer. Does not belong here: following a stream (``following``). A newcomer would get
wrong: with replicas any of them may answer a direct get, so "not there" is only believed of the leader.
"""

import base64
import calendar
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from kalends.adapters.nats.failures import NO_MESSAGE, accepted, decoded, refusal_code
from kalends.adapters.nats.requests import Question, Requests, status
from kalends.domain.errors import Unavailable

_MISSING = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A message as a stream keeps it; ``recorded_us`` is the broker's time in microseconds."""

    subject: str
    sequence: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    recorded_us: int


_OWN = ("Nats-", "Status", "Description")


async def by_sequence(
    requests: Requests, stream: str, sequences: Sequence[int], *, window: int, confirm: bool = False
) -> list[Stored | None]:
    """The messages at *sequences*, *window* questions at once; with *confirm* the leader is asked for what seems to be missing."""
    return await _get(requests, stream, [{"seq": sequence} for sequence in sequences], window=window, confirm=confirm)


async def last_by_subject(
    requests: Requests, stream: str, subjects: Sequence[str], *, window: int, confirm: bool = False
) -> list[Stored | None]:
    """The newest message on each of *subjects*."""
    return await _get(requests, stream, [{"last_by_subj": subject} for subject in subjects], window=window, confirm=confirm)


async def matching(requests: Requests, stream: str, wanted: Sequence[dict[str, object]], *, window: int) -> list[Stored | None]:
    """The message for each of *wanted*, which is a question as the broker takes it."""
    return await _get(requests, stream, wanted, window=window, confirm=False)


async def _get(requests: Requests, stream: str, wanted: Sequence[dict[str, object]], *, window: int, confirm: bool) -> list[Stored | None]:
    target = f"$JS.API.DIRECT.GET.{stream}"
    found: list[Stored | None] = []
    for start in range(0, len(wanted), window):
        questions: list[Question] = [(target, json.dumps(one).encode(), b"") for one in wanted[start : start + window]]
        found.extend(_direct(message) for message in await requests.ask_all(questions, repeat=True))
    if confirm:
        for number, one in enumerate(wanted):
            if found[number] is None:
                found[number] = await from_leader(requests, stream, one)
    return found


async def headers_between(
    requests: Requests, stream: str, *, after: int, upto: int, window: int, confirm: bool
) -> list[tuple[int, dict[str, str]]]:
    """Sequence and headers, the broker's own included, of what *stream* has behind *after* up to *upto*."""
    target = f"$JS.API.DIRECT.GET.{stream}"
    found: list[tuple[int, dict[str, str]]] = []
    for start in range(after + 1, upto + 1, window):
        sequences = range(start, min(start + window, upto + 1))
        questions: list[Question] = [(target, b'{"seq":%d}' % sequence, b"") for sequence in sequences]
        for sequence, message in zip(sequences, await requests.ask_all(questions, repeat=True), strict=True):
            if status(message) != _MISSING:
                found.append((sequence, dict(message.headers or {})))
            elif confirm and (asked := await raw_from_leader(requests, stream, {"seq": sequence})) is not None:
                found.append((sequence, asked[1]))
    return found


async def raw_from_leader(requests: Requests, stream: str, wanted: dict[str, object]) -> tuple[Mapping[str, object], dict[str, str]] | None:
    """One message as the stream's leader tells it, and its headers, the broker's own included; None if there is none."""
    return _told((await requests.ask(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps(wanted).encode(), repeat=True)).data)


def _told(answered: bytes) -> tuple[Mapping[str, object], dict[str, str]] | None:
    reply = decoded(answered)
    if refusal_code(reply) == NO_MESSAGE:
        return None
    message = accepted(reply)["message"]
    assert isinstance(message, dict)  # noqa: S101 - the broker's own answer
    lines = base64.b64decode(message.get("hdrs", "")).decode("utf-8", "replace").split("\r\n")[1:]
    return message, dict(line.split(": ", 1) for line in lines if ": " in line)


async def newest_sequence(requests: Requests, stream: str, subject: str) -> int:
    """The sequence of the newest message on *subject*, which may hold wildcards, by the leader's word; 0 if there is none.

    A consumer may be on a replica that is behind, and then says that nothing is left when that replica has nothing left.
    """
    found = await from_leader(requests, stream, {"last_by_subj": subject})
    return 0 if found is None else found.sequence


async def from_leader(requests: Requests, stream: str, wanted: dict[str, object]) -> Stored | None:
    """One message, asked of the stream's leader; None if there is none."""
    found = await raw_from_leader(requests, stream, wanted)
    return None if found is None else _stored(*found)


async def last_from_leader(requests: Requests, stream: str, subjects: Sequence[str], *, window: int) -> list[Stored | None]:
    """The newest message on each of *subjects*, asked of the stream's leader, *window* questions at once."""
    target = f"$JS.API.STREAM.MSG.GET.{stream}"
    found: list[Stored | None] = []
    for start in range(0, len(subjects), window):
        questions: list[Question] = [(target, json.dumps({"last_by_subj": one}).encode(), b"") for one in subjects[start : start + window]]
        told = [_told(message.data) for message in await requests.ask_all(questions, repeat=True)]
        found.extend(None if one is None else _stored(*one) for one in told)
    return found


async def subjects_of(requests: Requests, stream: str, wanted: str) -> list[str]:
    """The subjects that *stream* lists among *wanted*, which may hold wildcards, in order; also those whose messages it cannot give.

    The broker tells them in pages of 100,000. What is added meanwhile moves others to a later page, so one may come twice.
    """
    found: set[str] = set()
    offset = 0
    while True:
        asked = json.dumps({"subjects_filter": wanted, "offset": offset}).encode()
        info = await requests.api(f"STREAM.INFO.{stream}", asked, repeat=True)
        state = info.get("state")
        page = state.get("subjects") if isinstance(state, dict) else None
        if not page:
            return sorted(found)
        found.update(page)
        offset += len(page)
        if offset >= int(str(info.get("total", 0))):
            return sorted(found)


def _stored(message: Mapping[str, object], headers: dict[str, str]) -> Stored:
    return Stored(
        subject=str(message["subject"]),
        sequence=int(str(message["seq"])),
        body=base64.b64decode(str(message.get("data", ""))),
        headers=_given(headers),
        recorded_us=microseconds(str(message["time"])),
    )


def _direct(message: Msg) -> Stored | None:
    code = status(message)
    headers = message.headers or {}
    if code == _MISSING:
        return None
    if code or "Nats-Sequence" not in headers:
        raise Unavailable(f"nats: a direct get was answered with status {code}", dependency="nats")
    return Stored(
        subject=headers["Nats-Subject"],
        sequence=int(headers["Nats-Sequence"]),
        body=message.data,
        headers=_given(headers),
        recorded_us=microseconds(headers["Nats-Time-Stamp"]),
    )


def _given(headers: dict[str, str]) -> dict[str, str]:
    """The headers that the writer gave, without the broker's and ours."""
    return {name: value for name, value in headers.items() if not name.startswith(_OWN) and name != "Kalends-Try"}


def given_headers(message: Msg) -> dict[str, str]:
    """The headers of a delivered message that its writer gave."""
    return _given(message.headers or {})


def microseconds(text: str) -> int:
    """An RFC 3339 moment in UTC, with up to nine decimals, as microseconds since 1970."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What the reply subject of a delivered message says: ``$JS.ACK.<stream>.<consumer>.<attempt>.<sequence>.<number>.<ns>.<pending>``."""

    attempt: int
    sequence: int
    number: int
    recorded_us: int
    pending: int


def delivered(reply: str) -> Delivered:
    """Read a reply subject; newer brokers put a domain and an account before the stream and a token behind."""
    tokens = reply.split(".")
    start = 4 if len(tokens) == 9 else 6
    attempt, sequence, number, nanoseconds, pending = map(int, tokens[start : start + 5])
    return Delivered(attempt=attempt, sequence=sequence, number=number, recorded_us=nanoseconds // 1000, pending=pending)


def consumer_of(message: Msg) -> str:
    """The consumer that a message or a status came from; a status comes on our inbox, whose last token is the consumer's name."""
    tokens = message.reply.split(".")
    if len(tokens) < 9 or tokens[0] != "$JS":
        return message.subject.rpartition(".")[2]
    return tokens[3 if len(tokens) == 9 else 5]
