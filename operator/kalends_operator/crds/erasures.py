"""MemoryErasure: something is forgotten for good, and a signed receipt says so.

Belongs here: its spec, its status and their rules. Does not belong here: how it is done; that is Kalends' protocol. A newcomer would get
wrong: the object outlives what it erased, so nothing in it may say what that was about: reasons are codes, and the requester is a ticket or
an office, not a person.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field

from kalends_operator.crds.conditions import Condition, Reference
from kalends_operator.crds.rules import NOTHING_CHANGES, Rule, exactly_one, matches
from kalends_operator.crds.scalars import Count, Moment, Name, ObjectName, Short, Text

State = Literal["waiting", "hidden", "unreadable", "erased", "undone", "failed"]
ConditionType = Literal["Complete", "Approved", "Held"]
RECEIPT_BYTES = 32_768

_EVENT_ID = "[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_LABEL = "[a-z0-9][a-z0-9_.-]{0,63}"

Receipt = Annotated[str, Meta(max_length=RECEIPT_BYTES)]
EventId = Annotated[str, Meta(max_length=36, extra={"rules": (matches(_EVENT_ID, message="must be a ULID or a UUID"),)})]

Label = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        extra={"rules": (matches(_LABEL, message="must be 1 to 64 characters of a-z, 0-9, '_', '.' and '-'"),)},
    ),
]


class TimeRange(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happened from then, inclusive, until then, exclusive; one end may be open."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="has(self.from) || has(self.to)", message="a range has a beginning or an end; to forget all there is everything"),
        Rule(cel="!has(self.from) || !has(self.to) || self.from < self.to", message="the range ends before it begins"),
    )

    since: Annotated[Moment | None, Meta(description="Its beginning.")] = field(name="from", default=None)
    until: Annotated[Moment | None, Meta(description="Its end.")] = field(name="to", default=None)


class Selector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is meant, by exactly one criterion."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "has(self.eventIds)",
            "has(self.sessionId)",
            "has(self.actor)",
            "has(self.timeRange)",
            "has(self.documentId)",
            "has(self.label)",
            "self.everything",
            message="say what is forgotten by one of eventIds, sessionId, actor, timeRange, documentId, label, everything: true",
        ),
    )

    event_ids: Annotated[
        Annotated[tuple[EventId, ...], Meta(min_length=1, max_length=1000, extra={"set": True})] | None, Meta(description="These events.")
    ] = None
    session_id: Annotated[Name | None, Meta(description="A session, and what comes to it while it is erased.")] = None
    actor: Annotated[Name | None, Meta(description="What this actor said or did.")] = None
    time_range: Annotated[TimeRange | None, Meta(description="What happened in a stretch of time.")] = None
    document_id: Annotated[Name | None, Meta(description="A document.")] = None
    label: Annotated[Label | None, Meta(description="Whatever has this label.")] = None
    everything: Annotated[bool, Meta(description="All that the memory holds; confirm must be its object's name.")] = False


class MemoryErasureSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wanted: one erasure, now. Immutable."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        NOTHING_CHANGES,
        Rule(
            cel="!self.selector.everything || (has(self.confirm) && self.confirm == self.memoryRef.name)",
            message="everything would be forgotten: confirm must be the name in memoryRef",
        ),
        Rule(cel="self.selector.everything || !has(self.confirm)", message="confirm is for everything: true only"),
    )

    memory_ref: Annotated[Reference, Meta(description="The AgentMemory in which something is forgotten.")]
    selector: Annotated[Selector, Meta(description="What is forgotten, by exactly one criterion.")]
    confirm: Annotated[ObjectName | None, Meta(description="The name in memoryRef once more, if everything is forgotten.")] = None
    reason: Annotated[
        Literal["request", "consent_withdrawn", "retention", "legal", "other"], Meta(description="Why, as a code; it is in the receipt.")
    ] = "request"
    requester: Annotated[Name | None, Meta(description="A ticket or an office. Name no person: this stays when the rest is gone.")] = None
    undo_seconds: Annotated[int, Meta(ge=0, le=2_592_000, description="Seconds for which it is only hidden.")] = 0


class MemoryErasureStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far it is."""

    CONDITIONS: ClassVar[object] = ConditionType

    state: Annotated[
        State | None,
        Meta(description="waiting: for a second person; hidden: nobody is shown it; unreadable: its keys are gone; erased: it is gone."),
    ] = None
    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this is about.")] = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16, description="What is so, and what is not.")] = ()
    erasure_id: Annotated[Short | None, Meta(description="What Kalends calls it.")] = None
    requested_at: Annotated[Moment | None, Meta(description="When Kalends took it.")] = None
    completed_at: Annotated[Moment | None, Meta(description="When all was gone.")] = None
    counts: Annotated[dict[str, Count], Meta(max_length=32, description="What was erased, by store.")] = {}
    receipt: Annotated[Receipt | None, Meta(description="The signed receipt as it came; kalends erasures verify checks it.")] = None
    error: Annotated[Text | None, Meta(description="Why it failed.")] = None
