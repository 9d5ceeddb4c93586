"""Events: what was said or done, and the rules an event must meet before it is stored.

Belongs here: the event value, its vocabulary, limits and validation. Does not belong here: JSON or protobuf (``ingest/schemas``,
``wire``). A newcomer would get wrong: an event's identity is its id *as text* within its scope; ULIDs are upper-cased and UUIDs
lower-cased first, so that two spellings of one id are one event.
"""

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NewType

from kalends.domain import labels
from kalends.domain.errors import Fault, Invalid
from kalends.domain.scope import Scope

EventId = NewType("EventId", str)
EventKey = NewType("EventKey", str)
"""32 hex digits that identify an event in every engine; derived from scope and id, so it says nothing of either."""

Scalar = str | int | float | bool | None

KINDS = (
    "message",
    "user_message",
    "assistant_message",
    "tool_call",
    "tool_result",
    "session_start",
    "session_end",
    "assistant_stop",
    "subagent_start",
    "subagent_stop",
    "observation",
    "preference",
    "procedure",
    "constraint",
    "definition",
    "note",
    "episode",
    "chunk",
)
"""The seed system's event types and memory kinds, ``message`` for a plain turn, ``chunk`` for a part of a document."""

STRUCTURAL_KINDS = frozenset({"session_start", "session_end", "assistant_stop", "subagent_start", "subagent_stop"})
"""Kinds that may have an empty text: they mark a moment."""

ROLES = ("user", "assistant", "system", "tool")
PRIORITIES = ("low", "normal", "high", "urgent")
TRUSTS = ("trusted", "untrusted")

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE | re.ASCII)  # without ASCII, the Kelvin sign would be a K
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one event may be at most; sizes in bytes of UTF-8."""

    text_bytes: int = 256 * 1024
    metadata_keys: int = 32
    metadata_bytes: int = 16 * 1024
    name_bytes: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What a filter may ask of an event."""

    session_id: str
    kind: str
    role: str = "user"
    actor: str | None = None
    channel: str | None = None
    thread_id: str | None = None
    priority: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    """Who may see it (``domain.labels``); each once and in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing said or done, as it happened; never edited.

    ``occurred_at`` is the speaker's clock, ``recorded_at`` ours; both aware and in UTC. ``dated`` says whether the caller gave
    ``occurred_at``: if not, it is the time of the first writing and no part of the event's content.
    """

    id: EventId
    facets: Facets
    text: str
    occurred_at: datetime
    recorded_at: datetime
    dated: bool = True
    expires_at: datetime | None = None
    trust: str | None = None
    document_id: str | None = None


def event_key(scope: Scope, event_id: EventId) -> EventKey:
    """The identity of *event_id* in every engine: 32 hex digits."""
    return EventKey(hashlib.blake2b(f"{scope.key}{event_id}".encode(), digest_size=16).hexdigest())


def microseconds(moment: datetime) -> int:
    """An aware *moment* as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The UTC moment *value* microseconds after 1970.

    Raises:
        OverflowError: the value lies outside the years 1 to 9999.
    """
    return _EPOCH + timedelta(microseconds=value)


def canonical_id(text: str, *, pointer: str = "/event_id") -> EventId:
    """*text* as an event id: a ULID in upper case or a UUID in lower case.

    Raises:
        Invalid: it is neither.
    """
    if _ULID.fullmatch(text):
        return EventId(text.upper())
    if _UUID.fullmatch(text):
        return EventId(text.lower())
    detail = "must be a ULID or a UUID"
    raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="event_id")])


def ulid_time(event_id: EventId) -> datetime | None:
    """When a ULID or a UUIDv7 says it was made; None for other ids, and for times no calendar has."""
    if len(event_id) == 26:
        milliseconds = 0
        for character in event_id[:10]:
            milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    elif event_id[14] == "7":
        milliseconds = int(event_id[:8] + event_id[9:13], 16)
    else:
        return None
    try:
        return moment(milliseconds * 1000)
    except OverflowError:
        return None


def new_ulid(now: datetime, *, randomness: bytes | None = None) -> EventId:
    """A fresh ULID for *now*; *randomness* (10 bytes) makes it repeatable, as an idempotency key needs."""
    number = (microseconds(now) // 1000) << 80 | int.from_bytes(randomness or secrets.token_bytes(10))
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return EventId("".join(reversed(digits)))


def digest_id(*parts: str) -> EventId:
    """The id that *parts* always give: a UUID version 8 made of their digest."""
    digest = bytearray(hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return EventId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def check_text(text: str, *, pointer: str, limit: int, empty: bool = False) -> Fault | None:
    """What is wrong with *text*: NUL, a lone surrogate, emptiness or size; None if nothing is."""
    if not text and not empty:
        return Fault(pointer=pointer, detail="must not be empty", code="empty")
    if not text.isascii() or "\0" in text:
        found = _UNSENDABLE.search(text)
        if found:
            what = "NUL" if found.group() == "\0" else "a lone surrogate"
            return Fault(pointer=pointer, detail=f"holds {what}, which no store can round-trip", code="character")
    size = len(text)
    if size > limit or not text.isascii():
        size = len(text.encode())
    if size > limit:
        return Fault(pointer=pointer, detail=f"is {size} bytes of UTF-8; the limit is {limit}", code="too_large")
    return None


def check_event(event: Event, *, limits: Limits) -> Sequence[Fault]:
    """Everything that is wrong with *event*, with pointers relative to it."""
    facets = event.facets
    faults = [
        check_text(event.text, pointer="/text", limit=limits.text_bytes, empty=facets.kind in STRUCTURAL_KINDS),
        check_text(facets.session_id, pointer="/session_id", limit=limits.name_bytes),
        None if facets.kind in KINDS else _one_of(KINDS, "/kind"),
        None if facets.role in ROLES else _one_of(ROLES, "/role"),
        None if facets.priority is None or facets.priority in PRIORITIES else _one_of(PRIORITIES, "/priority"),
        None if event.trust is None or event.trust in TRUSTS else _one_of(TRUSTS, "/trust"),
    ]
    for pointer, name in (("/actor", facets.actor), ("/channel", facets.channel), ("/thread_id", facets.thread_id)):
        if name is not None:
            faults.append(check_text(name, pointer=pointer, limit=limits.name_bytes))
    faults += labels.faults_of(facets.labels)
    if facets.metadata:
        faults += check_metadata(facets.metadata, limits=limits)
    return [fault for fault in faults if fault is not None]


def _one_of(allowed: Sequence[str], pointer: str) -> Fault:
    return Fault(pointer=pointer, detail=f"must be one of {', '.join(allowed)}", code="vocabulary")


def check_metadata(metadata: Mapping[str, Scalar], *, limits: Limits) -> list[Fault | None]:
    """Everything that is wrong with *metadata*; None among the faults means nothing."""
    if len(metadata) > limits.metadata_keys:
        detail = f"has {len(metadata)} keys; the limit is {limits.metadata_keys}"
        return [Fault(pointer="/metadata", detail=detail, code="too_large")]
    faults: list[Fault | None] = []
    for name, value in metadata.items():
        pointer = "/metadata/" + name.replace("~", "~0").replace("/", "~1")
        safe = pointer if not _UNSENDABLE.search(pointer) else "/metadata"
        faults.append(check_text(name, pointer=safe, limit=limits.name_bytes))
        if isinstance(value, str):
            faults.append(check_text(value, pointer=safe, limit=limits.metadata_bytes, empty=True))
        elif isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
            faults.append(Fault(pointer=safe, detail="must fit 64 bits", code="range"))
        elif isinstance(value, float) and value - value != 0:
            faults.append(Fault(pointer=safe, detail="must be a finite number", code="range"))
    return faults


def speaker(facets: Facets) -> str:
    """Who an event is shown to be from: the actor if named, else the role."""
    return facets.actor or facets.role


def lead(event: Event) -> str:
    """Date and speaker, by which events are asked for as often as by their words: ``08 May 2023 Caroline``."""
    return f"{event.occurred_at:%d %B %Y} {speaker(event.facets)}"


def indexed_text(event: Event) -> str:
    """What was said, composed (NFC) so that equal characters are equal words."""
    return unicodedata.normalize("NFC", event.text)
