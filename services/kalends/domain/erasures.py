"""Erasures: what is to be forgotten, how far that is, and what of an event says that it is meant.

Belongs here: selectors, states and the decision whether something is meant. Does not belong here: doing it (``index.erasing``), keeping it
(``wire.erasures``). A newcomer would get wrong: what names whole sessions is fenced, so that nothing comes while their keys are destroyed;
what names single events is not, and what comes while they are erased stays.
"""

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kalends.domain.events import EventId, EventKey, Facets, Scalar, event_key
from kalends.domain.labels import EVERYTHING
from kalends.domain.queries import TARGETS, Criteria, Filter, tag
from kalends.domain.scope import Scope

SelectorKind = Literal["event_ids", "session_id", "actor", "range", "document_id", "metadata", "label", "everything"]
SELECTORS: tuple[SelectorKind, ...] = ("event_ids", "session_id", "actor", "range", "document_id", "metadata", "label", "everything")

State = Literal["hidden", "unreadable", "erased", "undone"]
STATES: tuple[State, ...] = ("hidden", "unreadable", "erased", "undone")

REASONS = ("request", "consent_withdrawn", "retention", "legal", "other")
"""Why, as a code: what a person would write here may name whom it is about, and would outlive the erasure."""

HOLDABLE: tuple[SelectorKind, ...] = ("everything", "session_id", "range")
IDS_AT_MOST = 1000

STORES = ("log_messages", "keys", "lexical", "vector", "timeline", "calendar_nodes", "documents")
"""What a receipt counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What is meant, by one criterion. ``session`` is set for a session and for a document, whose chunks are one.

    ``since_us`` ≤ occurred_at < ``until_us`` in microseconds, None is an open end.
    """

    kind: SelectorKind
    event_ids: tuple[EventId, ...] = ()
    session: str = ""
    actor: str = ""
    since_us: int | None = None
    until_us: int | None = None
    document_id: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    label: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it names whole sessions, whose keys can be destroyed."""
        return self.kind in {"session_id", "document_id", "everything"}

    @property
    def needs_facets(self) -> bool:
        """Whether only an event's own content says that it is meant."""
        return self.kind in {"actor", "metadata", "label"}

    def digest(self, scope: Scope, salt: str) -> str:
        """64 hex digits that say nothing of it but to who knows it, and *salt*."""
        said = [scope.key, salt, self.kind, *self.event_ids, self.session, self.actor, str(self.since_us), str(self.until_us)]
        said.append(json.dumps(dict(sorted(self.metadata.items()))))
        if self.label:
            said.append(self.label)
        return hashlib.sha256("\0".join(said).encode("utf-8", "surrogatepass")).hexdigest()

    def takes_session(self, session: str) -> bool:
        """Whether all of a session is meant."""
        return self.kind == "everything" or (self.is_whole and self.session == session)

    def takes(self, scope: Scope, key: EventKey, *, session: str, occurred_us: int, facets: Facets | None = None) -> bool:
        """Whether an event is meant; without *facets*, as far as that can be told (``needs_facets``)."""
        match self.kind:
            case "everything":
                return True
            case "session_id" | "document_id":
                return session == self.session
            case "event_ids":
                return key in _keys_of(scope, self.event_ids)
            case "range":
                after = self.since_us is None or occurred_us >= self.since_us
                return after and (self.until_us is None or occurred_us < self.until_us)
            case "actor" | "metadata" | "label":
                return facets is not None and self._takes_facets(facets)

    def _takes_facets(self, facets: Facets) -> bool:
        if self.kind == "actor":
            return facets.actor == self.actor
        if self.kind == "label":
            return self.takes_labels(facets.labels)
        return all(_same(facets.metadata.get(name), value) for name, value in self.metadata.items())

    def takes_labels(self, labels: Collection[str]) -> bool:
        """Whether whatever has *labels* is meant."""
        return self.kind == "label" and self.label in labels

    def criteria(self) -> Criteria:
        """What a live event that is meant meets in the timeline, where its content alone would say (``needs_facets``)."""
        if self.kind == "label":
            return Criteria(any_of=((tag("label", self.label),),))
        actor = (self.actor,) if self.actor else ()
        return Filter(actor=actor, metadata=self.metadata, targets=TARGETS, clearance=EVERYTHING).criteria()


@functools.lru_cache(maxsize=256)
def _keys_of(scope: Scope, event_ids: tuple[EventId, ...]) -> frozenset[EventKey]:
    """The keys of *event_ids*; remembered, for every read asks for them while an erasure is under way, and there may be thousands."""
    return frozenset(event_key(scope, event_id) for event_id in event_ids)


def _same(held: Scalar, wanted: Scalar) -> bool:
    """JSON has one kind of number, and true is no number."""
    return held == wanted and isinstance(held, bool) == isinstance(wanted, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure. ``selector`` is None once it is over, for then its key is destroyed; ``counts`` by what :data:`STORES` names.

    ``times`` are when each state began, in microseconds. ``begun``: it cannot be undone any more. ``sweep``: per stream, the last sequence
    that is looked at. ``step``: the last that is done. ``probe``: what was still found at the end. ``with_memory``: the memory goes, too.
    """

    erasure_id: EventId
    scope: Scope
    selector: Selector | None
    selector_kind: SelectorKind
    selector_digest: str
    reason: str
    requested_by: str
    undo_until_us: int
    state: State = "hidden"
    begun: bool = False
    times: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    sweep: Mapping[str, int] = field(default_factory=dict)
    probe: Mapping[str, int] = field(default_factory=dict)
    with_memory: bool = False
    step: str = ""
    revision: int = 0

    @property
    def is_active(self) -> bool:
        """Whether what it names is to be hidden by its record; once it is erased, the projections know."""
        return self.state in {"hidden", "unreadable"}

    @property
    def is_followed(self) -> bool:
        """Whether the projections know by themselves what is gone, so that what they make anew does not rest on it."""
        return self.step not in {"", "begin"}

    @property
    def requested_us(self) -> int:
        """When it was asked for, in microseconds."""
        return self.times.get("hidden", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What must not be erased: a name, what it is about, who set it and when (microseconds)."""

    name: str
    scope: Scope
    selector: Selector
    set_by: str
    set_us: int
