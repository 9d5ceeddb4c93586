"""Questions and answers: filters, search queries, hits, pages and cursors.

Belongs here: what can be asked and how it is checked. Does not belong here: how an engine is asked. A newcomer would get wrong: engines
never see facet values, only *tags*, which are short digests of them, so a filter looks the same to every engine and no name of a person
lands in a payload.
"""

import base64
import binascii
import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kalends.domain.errors import Fault, Invalid
from kalends.domain.events import EventKey, Facets, Scalar, microseconds
from kalends.domain.labels import UNLABELLED, Clearance
from kalends.domain.scope import Scope

MODES = ("hybrid", "lexical", "vector")
TARGETS = ("events", "documents")
"""What engines keep with a memory's events; nodes of the calendar (``toc``) are kept apart, and grips are found by their events."""

RERANKS = ("auto", "on", "off")
FACETS = ("session_id", "kind", "role", "actor", "channel", "thread_id", "priority", "level")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events may answer; everything given must hold. A tuple of values means any of them. Only nodes have a ``level``.

    ``clearance`` is that of whoever asks; where nobody sets it, nothing with a label answers.
    """

    session_id: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    thread_id: tuple[str, ...] = ()
    priority: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    targets: tuple[str, ...] = ("events",)
    clearance: Clearance = UNLABELLED

    @property
    def of_events(self) -> tuple[str, ...]:
        """The names of what is asked that only events have."""
        return (*(name for name in FACETS if name != "level" and getattr(self, name)), *(("metadata",) if self.metadata else ()))

    def criteria(self) -> "Criteria":
        """This filter as engines take it."""
        groups = [tuple(tag(name, value) for value in getattr(self, name)) for name in FACETS if getattr(self, name)]
        groups += [(_metadata_tag(name, value),) for name, value in self.metadata.items()]
        if set(self.targets) != set(TARGETS):
            groups.append(tuple(tag("target", target) for target in self.targets))
        if self.clearance.labels is not None:
            groups.append(visible_tags(self.clearance.labels))
        return Criteria(
            any_of=tuple(groups),
            since_us=None if self.since is None else microseconds(self.since),
            until_us=None if self.until is None else microseconds(self.until),
        )


def check_filter(wanted: Filter) -> None:
    """Refuse a filter that some of its targets cannot meet.

    Raises:
        Invalid: nodes of the calendar are asked for by what only events have, or a level where no nodes are searched.
    """
    faults = []
    if "toc" in wanted.targets:
        faults = [
            Fault(pointer=f"/filter/{name}", detail="nodes of the calendar have none; leave it out, or the target toc", code="filter")
            for name in wanted.of_events
        ]
    elif wanted.level:
        faults = [Fault(pointer="/filter/level", detail="is for the target toc only", code="filter")]
    if faults:
        raise Invalid(f"{faults[0].pointer}: {faults[0].detail}", faults=faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """A filter for engines: of each group at least one tag; ``since_us`` ≤ occurred_at < ``until_us`` (microseconds)."""

    any_of: tuple[tuple[str, ...], ...] = ()
    since_us: int | None = None
    until_us: int | None = None


@functools.lru_cache(maxsize=16_384)
def tag(name: str, value: str) -> str:
    """A facet as 16 hex digits."""
    return hashlib.blake2b(f"{name}\0{value}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


_WITHOUT_LABEL = tag("label", "")
"""What everybody may see says so by a tag of its own: engines ask for what something has, and what was indexed before there were labels is
seen by credentials of all labels only, until it is indexed anew."""


def visible_tags(labels: Iterable[str]) -> tuple[str, ...]:
    """The tags of which something has one if whoever has *labels* may see it."""
    return (_WITHOUT_LABEL, *(tag("label", label) for label in sorted(labels)))


def _label_tags(labels: Collection[str]) -> tuple[str, ...]:
    return tuple(tag("label", label) for label in labels) or (_WITHOUT_LABEL,)


def _metadata_tag(name: str, value: Scalar) -> str:
    """JSON has one kind of number, so 1 and 1.0 are one value and ask for the same tag."""
    same = int(value) if isinstance(value, float) and value.is_integer() else value
    return tag("metadata", f"{name}\0{json.dumps(same)}")


def node_tags(level: str) -> tuple[str, ...]:
    """Every tag that a filter may ask of a node of the calendar, which never rests on anything with a label."""
    return (tag("target", "toc"), tag("level", level), _WITHOUT_LABEL)


def tags_of(facets: Facets, *, target: str) -> tuple[str, ...]:
    """Every tag that a filter may ask of an event with these *facets*."""
    found = [tag("target", target), tag("session_id", facets.session_id), tag("kind", facets.kind), tag("role", facets.role)]
    for name in ("actor", "channel", "thread_id", "priority"):
        value = getattr(facets, name)
        if value is not None:
            found.append(tag(name, value))
    found += [_metadata_tag(name, value) for name, value in facets.metadata.items()]
    found += _label_tags(facets.labels)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as the projections hold it. ``version`` is the position's version and guards every write.

    ``lead`` is the date and the speaker, which BM25 keeps in a field of its own; ``text`` is what was said, which the model reads after
    ``speaker``.
    """

    scope: Scope
    key: EventKey
    version: int
    text: str
    tags: tuple[str, ...]
    occurred_us: int
    lead: str = ""
    speaker: str = ""

    @property
    def embedded(self) -> str:
        """What the model reads: on public chats the speaker helps it and the date does not."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An event that was taken back at ``version``: it must not be found, and no older write may bring it back."""

    scope: Scope
    key: EventKey
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held of one key: the version that guards it, and whether it can be found; if not, it is a tombstone."""

    key: EventKey
    version: int
    live: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """A found event and its raw score in one arm; larger is better."""

    key: EventKey
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What a projection holds, comparable with a fresh rebuild: live events and an order-free digest of (key, version)."""

    events: int
    digest: str


DIGEST_RANGE = 1 << 128
"""Digests are sums modulo this."""


def fold_digest(pairs: Sequence[tuple[str, int]]) -> Digest:
    """The digest of (key, version) pairs, whatever their order: the sum of their hashes modulo 2^128."""
    total = 0
    for key, version in pairs:
        total += int.from_bytes(hashlib.blake2b(f"{key}{version}".encode(), digest_size=16).digest())
    return Digest(events=len(pairs), digest=f"{total % DIGEST_RANGE:032x}")


def encode_cursor(values: Sequence[int | str], *, bound_to: str) -> str:
    """An opaque cursor that only fits the question *bound_to* describes."""
    return base64.urlsafe_b64encode(json.dumps([_mark(bound_to), *values], separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str, *, bound_to: str, shape: tuple[type, ...]) -> tuple[int | str, ...]:
    """Read a cursor back.

    Raises:
        Invalid: it is no cursor of ours, or it belongs to another question.
    """
    try:
        decoded = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        decoded = None
    fits = isinstance(decoded, list) and [type(value) for value in decoded] == [str, *shape]
    if not fits or not all(_storable(value) for value in decoded):
        detail = "not a cursor of this list"
        raise Invalid(detail, faults=[Fault(pointer="/cursor", detail=detail, code="cursor")])
    if decoded[0] != _mark(bound_to):
        detail = "the cursor belongs to another filter or order"
        raise Invalid(detail, faults=[Fault(pointer="/cursor", detail=detail, code="cursor")])
    return tuple(decoded[1:])


def _mark(bound_to: str) -> str:
    return hashlib.blake2b(bound_to.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _storable(value: int | str) -> bool:
    """Whether an engine can compare with *value*: integers of 64 bits, and text without lone surrogates (JSON can spell them)."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
