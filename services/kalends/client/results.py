"""What the server answers, as values.

Belongs here: one frozen struct per answer. Does not belong here: what is sent (``requests``). A newcomer would get wrong: these are lenient
on purpose: members that a newer server adds are ignored, and members that may come later have defaults.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

T = TypeVar("T")
Scalar = str | int | float | bool | None


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list; ``next_cursor`` is None at its end."""

    items: list[T]
    next_cursor: str | None = None


class Nothing(Struct, frozen=True):
    """An answer whose body does not matter."""


class Rejection(Struct, frozen=True, kw_only=True):
    """Why an event was rejected; ``pointer`` is relative to the request it travelled in."""

    pointer: str
    detail: str
    code: str


class AppendResult(Struct, frozen=True, kw_only=True):
    """What became of one event: ``status`` is new, duplicate or rejected; ``masked`` names the kinds of things that were kept out of it."""

    event_id: str | None
    status: str
    error: Rejection | None = None
    masked: list[str] = []


class AppendReceipt(Struct, frozen=True, kw_only=True):
    """One result per event, in order; ``visibility`` is for ``min_visibility`` of a read."""

    results: list[AppendResult]
    visibility: str = ""

    @property
    def event_ids(self) -> list[str]:
        """Ids of all events that are stored, in order."""
        return [result.event_id for result in self.results if result.event_id is not None and result.status != "rejected"]


class Lag(Struct, frozen=True, kw_only=True):
    """How far a projection is behind the log."""

    events: int
    seconds: float


class Quota(Struct, frozen=True, kw_only=True):
    """Bounds of a memory; None is none."""

    events: int | None = None
    bytes: int | None = None


class Feedback(Struct, frozen=True, kw_only=True):
    """What was counted."""

    verdict: str


class MemoryInfo(Struct, frozen=True, kw_only=True):
    """A memory and its counts; a count of None is not known to the process that answered."""

    name: str
    isolation: str = "shared"
    description: str = ""
    created_at: datetime | None = None
    quota: Quota | None = None
    redaction: dict[str, Any] | None = None
    """What is done about sensitive content, by category; None: credentials are masked, personal data is left alone."""
    retention: dict[str, Any] | None = None
    """How long what it holds is kept; None: as the settings say of memories that say nothing."""
    events: int | None = None
    documents: int | None = None
    sessions: int | None = None
    toc_nodes: int | None = None
    grips: int | None = None
    log_bytes: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    lag: dict[str, Lag] = {}
    owner: str | None = None
    """Whom it was handed over to; None: it never was."""

    handed_over_at: datetime | None = None
    handed_over_reason: str | None = None


class Event(Struct, frozen=True, kw_only=True):
    """One event as it was written."""

    event_id: str
    session_id: str
    kind: str
    role: str
    text: str
    occurred_at: datetime
    recorded_at: datetime | None = None
    actor: str | None = None
    expires_at: datetime | None = None
    metadata: dict[str, Scalar] = {}
    channel: str | None = None
    thread_id: str | None = None
    priority: str | None = None
    trust: str | None = None
    document_id: str | None = None
    labels: list[str] = []


class EventInContext(Event, frozen=True, kw_only=True):
    """An event with its neighbours in the session, oldest first, as many as were asked for."""

    before: list[Event] = []
    after: list[Event] = []


class Hit(Struct, frozen=True, kw_only=True):
    """One found event with its text. ``scores`` are raw, by arm: BM25, cosine, mean MaxSim.

    A hit of the target toc is a node, with its ``level``; one of the target grips is an excerpt, with the events it spans and its segment.
    """

    id: str
    score: float
    text: str
    occurred_at: datetime
    session_id: str = ""
    target: str = "events"
    role: str = ""
    actor: str | None = None
    kind: str = ""
    trust: str | None = None
    scores: dict[str, float] = {}
    document_id: str | None = None
    level: str = ""
    speaker: str = ""
    first_event_id: str = ""
    last_event_id: str = ""
    node_id: str = ""


class TimeFilter(Struct, frozen=True, kw_only=True):
    """The stretch of time that ``phrase`` of the question names: ``since`` ≤ occurred_at < ``until``, None is an open end.

    ``mode`` filter: only hits within it, or from everywhere if there was none (then ``applied`` is false). ``mode`` boost: hits within it
    rank higher.
    """

    phrase: str
    since: datetime | None = field(name="from", default=None)
    until: datetime | None = field(name="to", default=None)
    mode: str = "filter"
    applied: bool = True


class SearchAnswer(Struct, frozen=True, kw_only=True):
    """Hits, best first, and how they came about: arms that ran, what was missing, how far behind the projections are (``lag``).

    ``time_filter`` is what a time phrase in the question did; None if there was none.
    """

    hits: list[Hit]
    arms: list[str] = []
    degraded: list[str] = []
    stale: bool = False
    lag: dict[str, Lag] = {}
    took_ms: dict[str, float] = {}
    time_filter: TimeFilter | None = None
    floors: dict[str, dict[str, int]] | None = None
    explain: dict[str, Any] | None = None


class ContextAnswer(Struct, frozen=True, kw_only=True):
    """A block to put before a model: data, never instructions; each line names its event or its grip, ``ids`` are those."""

    text: str
    ids: list[str] = []
    tokens: int = 0
    truncated: bool = False
    arms: list[str] = []
    degraded: list[str] = []
    stale: bool = False
    time_filter: TimeFilter | None = None


class Session(Struct, frozen=True, kw_only=True):
    """One conversation or run of an agent."""

    session_id: str
    events: int
    first_at: datetime
    last_at: datetime


class Document(Struct, frozen=True, kw_only=True):
    """A document as it is kept. ``status`` says what a write did: new, unchanged or replaced."""

    document_id: str
    title: str = ""
    source: str = ""
    chunks: int = 0
    chunk_ids: list[str] = []
    updated_at: datetime | None = None
    status: str = ""
    visibility: str = ""
    masked: list[str] = []
    """The kinds of things that were kept out of it by a write."""
    labels: list[str] = []


class RemovedDocument(Struct, frozen=True, kw_only=True):
    """What was taken back; no longer found once ``visibility`` is reached."""

    document_id: str
    chunks: int = 0
    visibility: str = ""


class Token(Struct, frozen=True, kw_only=True):
    """A credential as it can be listed: never its secret. ``memories`` None means all of the tenant's."""

    token_id: str = field(name="id")
    memories: list[str] | None = None
    rights: list[str] = []
    role: str | None = None
    label: str = ""
    labels: list[str] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    replaces: str | None = None
    replaced_by: str | None = None


class Agent(Struct, frozen=True, kw_only=True):
    """An identity that is a key of its own, known by its public half. ``memories`` None means all of the tenant's."""

    agent_id: str = field(name="id")
    public_key: str
    memories: list[str] | None = None
    rights: list[str] = []
    role: str | None = None
    label: str = ""
    labels: list[str] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None


class NewToken(Token, frozen=True, kw_only=True):
    """A fresh credential; ``secret`` is shown this once."""

    secret: str = field(name="token")

    def __repr__(self) -> str:
        """The value without its secret, because representations end up in logs."""
        return f"NewToken(token_id={self.token_id!r}, memories={self.memories!r}, rights={self.rights!r})"


class OperationStarted(Struct, frozen=True, kw_only=True):
    """Where to ask how a long piece of work goes."""

    operation_id: str


class Operation(Struct, frozen=True, kw_only=True):
    """A long piece of work: ``state`` is queued, running, succeeded, failed or cancelled; ``done`` of ``total`` messages."""

    operation_id: str
    kind: str
    state: str
    projection: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    result: str | None = None
    dry_run: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in {"queued", "running"}


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message that could not be indexed: where it is and why; never what it says."""

    dead_letter_id: str
    stream: str = ""
    sequence: int = 0
    consumer: str = ""
    reason: str = ""
    deliveries: int = 0
    at: datetime | None = None


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay did."""

    dead_letter_id: str
    state: str = "replayed"


class Job(Struct, frozen=True, kw_only=True):
    """A scheduled job. ``last_result`` is SUCCESS, FAILED or SKIPPED; ``next_run_at`` None while it is paused.

    ``last_run_at`` is when the last run ended; ``checkpoint`` when the last one that succeeded began: the next deals with what came since.
    """

    job_name: str
    cron: str = ""
    is_paused: bool = False
    is_running: bool = False
    last_run_at: datetime | None = None
    next_run_at: datetime | None = None
    run_count: int = 0
    error_count: int = 0
    last_result: str | None = None
    last_error: str | None = None
    last_duration_s: float | None = None
    checkpoint: str | None = None


class Dependency(Struct, frozen=True, kw_only=True):
    """One dependency: up, degraded or down, since when, and what to do about it."""

    name: str
    state: str
    since: str = ""
    detail: str = ""
    next_step: str = ""
    required: bool = True


class CalendarBacklog(Struct, frozen=True, kw_only=True):
    """What is still to be written of the calendar; sessions that still talk wait until they are quiet."""

    units_due: int = 0
    periods_due: int = 0
    waiting_s: float = 0.0


class Status(Struct, frozen=True, kw_only=True):
    """The instance as a whole. ``mode``: up, or the roles that the answering process serves."""

    version: str
    mode: str
    state: str
    dependencies: list[Dependency] = []
    lag: dict[str, Lag] = {}
    generations: dict[str, str] = {}
    digests: dict[str, str] = {}
    models: dict[str, str] = {}
    calendar: CalendarBacklog | None = None
    last_backup: str | None = None
    dead_letters: int = 0
    format: int = 0
