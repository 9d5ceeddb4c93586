"""AgentMemory: a memory for an agent, what it keeps, and who gets its credentials.

Belongs here: its spec, its status and their rules. Does not belong here: the tenant, which is the operator's own credential's. A newcomer
would get wrong: ``leave`` is what Kalends calls ``off``, a word that is a boolean in YAML; and the defaults of a part are filled in by the
server even where the whole part was left out.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from kalends.domain.events import KINDS
from kalends.domain.retention import DOCUMENT_KIND
from kalends_operator.crds.conditions import Condition
from kalends_operator.crds.rules import Rule, immutable, kept, matches
from kalends_operator.crds.scalars import Bound, Count, Days, Digest, MemoryName, Moment, Name, ObjectName, Schedule, Short, Text

ConditionType = Literal[
    "Ready",
    "Provisioned",
    "IndexesCurrent",
    "LogIntact",
    "BackupHealthy",
    "QuotaExceeded",
    "Erasing",
    "ModelsServed",
    "AccountsMapped",
    "HandedOver",
]
Phase = Literal["Pending", "Provisioning", "Ready", "Degraded", "Deleting", "Failed"]
DeletionPolicy = Literal["Retain", "Snapshot", "Erase"]
Role = Literal["reader", "writer", "curator"]
Action = Literal["leave", "mask", "refuse"]
Kind = Annotated[str, Meta(max_length=32, extra={"enum": KINDS})]

_OF_KINDS = f"[{', '.join(repr(kind) for kind in KINDS)}]"
_KNOWN_KINDS = Rule(cel=f"self.all(kind, kind in {_OF_KINDS})", message="names no kind of event of Kalends")
_PRINCIPAL = r"(token|agent|outsider):[A-Za-z0-9_-]{1,64}|kubernetes:[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}|oidc:[^#\s]+#\S+"

AgentId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        extra={"rules": (matches(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]*", message="must be letters, digits and any of _.:@/- after the first"),)},
    ),
]


class RetentionRule(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """At most so many days, at most so many events."""

    max_age_days: Annotated[Days | None, Meta(description="Days since it was recorded; absent: any.")] = None
    max_events: Annotated[Bound | None, Meta(description="Events, the newest of them; absent: any number.")] = None


class Retention(RetentionRule, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the memory keeps. An empty object keeps everything, whatever the installation's default is."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.kinds) || !has(self.pinnedKinds) || self.pinnedKinds.all(kind, !(kind in self.kinds))",
            message="a kind that is pinned has no rule of its own, as nothing of it goes",
        ),
        Rule(
            cel=f"!has(self.kinds) || !('{DOCUMENT_KIND}' in self.kinds) || !has(self.kinds['{DOCUMENT_KIND}'].maxEvents)",
            message="a document goes whole, so its chunks are not counted",
        ),
    )

    kinds: Annotated[
        dict[str, RetentionRule],
        Meta(max_length=32, extra={"rules": (_KNOWN_KINDS,)}, description="Rules of single kinds of events."),
    ] = {}
    pinned_kinds: Annotated[tuple[Kind, ...], Meta(max_length=32, extra={"set": True}, description="Kinds that stay for ever.")] = ()
    session_only: Annotated[bool, Meta(description="What belongs to a session is erased when that ends.")] = False


class Quota(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the memory may hold at most."""

    events: Annotated[Bound | None, Meta(description="Events; absent: any number.")] = None
    bytes: Annotated[Bound | None, Meta(description="Bytes in the log; absent: any number.")] = None


class Models(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The models that the agent was tested with. The condition ModelsServed says if the installation serves others."""

    embedder: Annotated[Name | None, Meta(description="Who makes vectors of texts.")] = None
    reranker: Annotated[Name | None, Meta(description="Who puts what was found in order.")] = None
    summarizer: Annotated[Name | None, Meta(description="Who writes summaries.")] = None


class Actions(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is done about sensitive content before it is stored, by class; absent: as Kalends does by default."""

    credentials: Annotated[Action | None, Meta(description="Keys, tokens, passwords; masked unless something else is said.")] = None
    card: Annotated[Action | None, Meta(description="Numbers of payment cards.")] = None
    email: Annotated[Action | None, Meta(description="Addresses of mail.")] = None
    phone: Annotated[Action | None, Meta(description="Numbers of phones.")] = None
    iban: Annotated[Action | None, Meta(description="Numbers of bank accounts.")] = None


class Redaction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is kept out of the store."""

    default: Annotated[Actions, Meta(description="For every kind of event that says nothing else.")] = Actions()
    kinds: Annotated[
        dict[str, Actions], Meta(max_length=32, extra={"rules": (_KNOWN_KINDS,)}, description="For kinds of events; chunk is documents.")
    ] = {}


class Access(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who may use the memory, and where the credentials are."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.tokenOverlapSeconds < self.rotateEveryDays * 86400",
            message="the old token must end before the next rotation: tokenOverlapSeconds is less than rotateEveryDays",
        ),
    )

    role: Annotated[Role, Meta(description="What the credentials may do: a curator may also forget.")] = "writer"
    secret_name: Annotated[
        ObjectName | None, Meta(description="The Secret with the credentials; absent: the name of this object and -kalends.")
    ] = None
    rotate_every_days: Annotated[int, Meta(ge=1, le=365, description="Days until the token is replaced.")] = 90
    token_overlap_seconds: Annotated[
        int, Meta(ge=60, le=604_800, description="Seconds that the old token is still good for, so that pods can read the new one.")
    ] = 3600
    service_accounts: Annotated[
        tuple[ObjectName, ...],
        Meta(
            max_length=32,
            extra={"set": True},
            description="Service accounts of this namespace that Kalends should know by their own tokens. The installation's settings map "
            "them; the condition AccountsMapped says if it does.",
        ),
    ] = ()


class Backup(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When the memory is backed up, and how many of these backups are kept."""

    schedule: Annotated[Schedule, Meta(description="Cron in UTC, five fields.")]
    keep: Annotated[int, Meta(ge=1, le=1000, description="How many are kept; older ones are deleted.")] = 7


class HandOver(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Whom the memory is given to; from then on the credentials that were made here no longer reach it."""

    to: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=1024,
            extra={
                "rules": (
                    matches(
                        _PRINCIPAL,
                        message="names nobody: write token:ID, agent:ID, oidc:ISSUER#SUBJECT, kubernetes:NAMESPACE/ACCOUNT or outsider:ID",
                    ),
                )
            },
            description="token:ID, agent:ID, oidc:ISSUER#SUBJECT, kubernetes:NAMESPACE/ACCOUNT or outsider:ID.",
        ),
    ]
    reason: Annotated[Literal["request", "reorganization", "departure", "incident", "other"], Meta(description="Why, as a code.")] = (
        "request"
    )


class AgentMemorySpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wanted."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        immutable("memory", message="the name of the memory cannot be changed; make a new AgentMemory"),
        immutable("agentId", message="the agent cannot be changed; use handOverTo or make a new AgentMemory"),
        immutable("isolation", message="the isolation cannot be changed; make a new AgentMemory"),
        kept("handOverTo", message="a hand-over can neither be changed nor taken back"),
    )

    memory: Annotated[MemoryName | None, Meta(description="The memory's name in Kalends; absent: this object's name. Immutable.")] = None
    agent_id: Annotated[
        AgentId | None,
        Meta(description="Whose memory it is, in the words of whoever runs the agent; it labels the credentials. Immutable."),
    ] = None
    description: Annotated[str, Meta(max_length=1500, description="What the memory is for.")] = ""
    isolation: Annotated[
        Literal["shared", "dedicated"], Meta(description="Whether it has a stream, an index and a collection of its own. Immutable.")
    ] = "shared"
    retention: Annotated[Retention | None, Meta(description="What is kept; absent: as the installation does by default.")] = None
    quota: Annotated[Quota | None, Meta(description="What it may hold at most; absent: anything.")] = None
    models: Annotated[Models | None, Meta(description="The models that are expected to be served.")] = None
    redaction: Annotated[Redaction | None, Meta(description="What is kept out of the store; absent: as Kalends does by default.")] = None
    access: Annotated[Access, Meta(description="Who may use it, and where the credentials are.")] = Access()
    backup: Annotated[Backup | None, Meta(description="When it is backed up; absent: not from here.")] = None
    deletion_policy: Annotated[
        DeletionPolicy,
        Meta(
            description="What becomes of the memory when this object is deleted. Retain: it stays, only the credentials end. Snapshot: the "
            "same, after a backup. Erase: it is forgotten for good, and the object stays until there is a receipt."
        ),
    ] = "Retain"
    hand_over_to: Annotated[HandOver | None, Meta(description="Give the memory to somebody else, once and for good.")] = None


class Counts(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the memory holds; absent: not known now."""

    events: Annotated[Count | None, Meta(description="Events.")] = None
    documents: Annotated[Count | None, Meta(description="Documents.")] = None
    sessions: Annotated[Count | None, Meta(description="Sessions.")] = None
    toc_nodes: Annotated[Count | None, Meta(description="Nodes of the calendar.")] = None
    grips: Annotated[Count | None, Meta(description="Grips: pieces of evidence for what the calendar says.")] = None
    bytes: Annotated[Count | None, Meta(description="Bytes in the log.")] = None


class Lag(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far a projection is behind the log."""

    events: Annotated[Count, Meta(description="Events.")]
    seconds: Annotated[Count, Meta(description="Seconds.")]


class Endpoints(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where the memory is reached."""

    http: Annotated[Text | None, Meta(description="The URL of the HTTP API.")] = None
    nats: Annotated[Text | None, Meta(description="The URLs of the brokers.")] = None
    subject_prefix: Annotated[Text | None, Meta(description="What the subjects of this memory's calls begin with.")] = None


class LastBackup(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The newest backup that is whole."""

    name: Annotated[ObjectName, Meta(description="The MemoryBackup.")]
    time: Annotated[Moment, Meta(description="When it was done.")]
    digest: Annotated[Digest | None, Meta(description="SHA-256 of its manifest, in hex.")] = None


class AgentMemoryStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How it is."""

    CONDITIONS: ClassVar[object] = ConditionType

    phase: Annotated[Phase | None, Meta(description="The conditions in one word.")] = None
    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this is about.")] = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16, description="What is so, and what is not.")] = ()
    memory: Annotated[MemoryName | None, Meta(description="The memory's name in Kalends.")] = None
    tenant: Annotated[Short | None, Meta(description="The tenant of the operator's credential.")] = None
    owner: Annotated[Text | None, Meta(description="Whom it was handed over to.")] = None
    counts: Annotated[Counts | None, Meta(description="What it holds.")] = None
    lag: Annotated[dict[str, Lag], Meta(max_length=16, description="How far each projection is behind the log.")] = {}
    endpoints: Annotated[Endpoints | None, Meta(description="Where it is reached.")] = None
    credentials_secret: Annotated[ObjectName | None, Meta(description="The Secret with the credentials.")] = None
    credentials_expire_at: Annotated[Moment | None, Meta(description="When the token is replaced at the latest.")] = None
    token_id: Annotated[Short | None, Meta(description="The id of the token in the Secret; no secret itself.")] = None
    agent_registration: Annotated[Short | None, Meta(description="The id under which the key in the Secret is registered.")] = None
    public_key: Annotated[Short | None, Meta(description="The public part of the key in the Secret.")] = None
    last_backup: Annotated[LastBackup | None, Meta(description="The newest backup that is whole.")] = None
    last_backup_attempt_at: Annotated[Moment | None, Meta(description="When the newest backup was begun, whole or not.")] = None
    erasure_id: Annotated[Short | None, Meta(description="The erasure that the deletion of this object asked for.")] = None
    operation_id: Annotated[Short | None, Meta(description="The work in Kalends that is waited for.")] = None
