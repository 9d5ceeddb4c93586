"""Drafts: what was found in a file of another program, on its way to become an event.

Belongs here: the value, its id, and how a text that is too long is cut. Does not belong here: any one format. A newcomer would get wrong: a
time without a zone is read as UTC and a time that stands for "none" as none; what has no time is dated when it is first stored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from kalends.domain.events import KINDS, ROLES, Scalar, digest_id, moment

TEXT_BYTES = 128 * 1024
"""The longest text of one event; what is longer becomes several, cut between lines where that is possible."""

_NAME_BYTES = 512
_METADATA_CHARACTERS = 2000
_METADATA_KEYS = 32
_KEY_CHARACTERS = 100
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_LARGEST = 1 << 63
_FIRST_YEAR = 2
"""Go writes the year 1 where there is no time."""


class WrongRecord(Exception):
    """A record does not hold what its format says; the words are for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One JSON object of a file: the line on which it begins, counted from 1, and what it holds."""

    line: int
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A record that cannot be read, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One event to be. ``native`` is what identifies it in the program that it comes from; ``event_id`` overrules that."""

    line: int
    native: tuple[str, ...]
    session_id: str
    text: str
    kind: str = "message"
    role: str = "user"
    occurred_at: datetime | None = None
    actor: str | None = None
    thread_id: str | None = None
    event_id: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


def events_of(draft: Draft, *, source: str) -> Iterator[dict[str, Any]]:
    """*draft*, of the program *source*, as events to append; more than one if its text is too long for one."""
    pieces = list(_pieces(sendable(draft.text)))
    for number, text in enumerate(pieces):
        part = () if len(pieces) == 1 else ("part", str(number))
        given = draft.event_id if number == 0 else None
        event: dict[str, Any] = {
            "event_id": given or digest_id("import", source, *draft.native, *part),
            "session_id": _name(draft.session_id),
            "kind": draft.kind if draft.kind in KINDS else "message",
            "role": draft.role if draft.role in ROLES else "user",
            "text": text,
        }
        optional = {
            "occurred_at": None if draft.occurred_at is None else draft.occurred_at.isoformat(),
            "actor": _name(draft.actor) if draft.actor else None,
            "thread_id": _name(draft.thread_id) if draft.thread_id else None,
            "metadata": _metadata({**draft.metadata, **({"part": number + 1, "parts": len(pieces)} if part else {})}),
        }
        yield event | {name: value for name, value in optional.items() if value}


def sendable(text: str) -> str:
    """*text* with a mark in place of what no store can keep: NUL and lone surrogates."""
    return _UNSENDABLE.sub("\ufffd", text)


def _name(text: str) -> str:
    return sendable(text).encode()[:_NAME_BYTES].decode(errors="ignore")


def _metadata(metadata: Mapping[str, Scalar]) -> dict[str, Scalar]:
    kept = {sendable(name)[:_KEY_CHARACTERS]: value for name, value in metadata.items() if name and value is not None and value != ""}
    some = list(kept.items())[:_METADATA_KEYS]
    return {name: sendable(value)[:_METADATA_CHARACTERS] if isinstance(value, str) else value for name, value in some}


def _pieces(text: str) -> Iterator[str]:
    raw = text.encode()
    start = 0
    while len(raw) - start > TEXT_BYTES:
        end = raw.rfind(b"\n", start + 1, start + TEXT_BYTES) + 1 or start + TEXT_BYTES
        while raw[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        yield raw[start:end].decode()
        start = end
    yield raw[start:].decode()


def when(value: object, *, unit: str = "s") -> datetime | None:
    """The time that *value* tells: RFC 3339 text, or a number of seconds (``unit`` s) or milliseconds (ms) since 1970; None if none.

    Raises:
        WrongRecord: it is no time.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value):
            found = datetime.fromisoformat(value.strip())
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
            return None if found.year < _FIRST_YEAR else found.astimezone(UTC)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return moment(round(float(value) * (1e6 if unit == "s" else 1e3)))
    except (ValueError, OverflowError) as error:
        raise WrongRecord(f"{value!r} is no time") from error
    raise WrongRecord(f"{value!r} is no time")


def text_of(value: object, what: str) -> str:
    """*value* as text that must be there.

    Raises:
        WrongRecord: it is none.
    """
    if not isinstance(value, str) or not value:
        raise WrongRecord(f"has no {what}")
    return value


def maybe(value: object) -> str | None:
    """*value* if it is text that says something."""
    return value if isinstance(value, str) and value else None


def mapping_of(value: object, what: str) -> Mapping[str, Any]:
    """*value* as an object that must be there.

    Raises:
        WrongRecord: it is none.
    """
    if not isinstance(value, Mapping):
        raise WrongRecord(f"has no {what}")
    return value


def list_of(value: object, what: str) -> list[Any]:
    """*value* as a list that must be there.

    Raises:
        WrongRecord: it is none.
    """
    if not isinstance(value, list):
        raise WrongRecord(f"has no {what}")
    return value


def scalars(value: object) -> dict[str, Scalar]:
    """The members of an object that metadata can hold."""
    if not isinstance(value, Mapping):
        return {}
    found = {str(name): one for name, one in value.items() if isinstance(one, str | int | float | bool)}
    return {name: one for name, one in found.items() if not isinstance(one, int) or abs(one) < _LARGEST}


_canonical = msgspec.json.Encoder(order="deterministic")


def as_json(value: object) -> str:
    """*value* as JSON, always the same."""
    return _canonical.encode(value).decode()
