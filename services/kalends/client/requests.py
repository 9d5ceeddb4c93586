"""What can be asked, as values: one function per operation gives a ``Request``, and nothing here touches a network.

Belongs here: method, path, parameters, body and the type of the answer. Does not belong here: sending (``blocking``, ``asynchronous``) or
retrying (``exchanges``). A newcomer would get wrong: both clients share these, so an operation is described once and only its name is
repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from kalends.client import results
from kalends.domain.errors import Fault, Invalid
from kalends.domain.scope import memory_name

T = TypeVar("T")
Moment = datetime | str
"""An aware datetime, or RFC 3339 text with an offset."""

Names = str | Sequence[str]
Metadata = Mapping[str, results.Scalar]
Isolation = Literal["shared", "dedicated"]
Verdict = Literal["useful", "useless", "wrong", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """One request: ``path`` is below ``/v1``. ``repeatable``: doing it twice is the same as doing it once."""

    method: str
    path: str
    result: type[T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


class Filters(TypedDict, total=False):
    """Which events: all that is given must hold, of several names any; ``since`` ≤ occurred_at < ``until``.

    ``level`` (year, month, week, day, segment) is for nodes of the calendar, which have nothing else of this but their time.
    """

    session_id: Names
    kind: Names
    role: Names
    actor: Names
    channel: Names
    thread_id: Names
    priority: Names
    metadata: Metadata
    since: Moment
    until: Moment
    level: Names


class SearchOptions(Filters, total=False):
    """How to search; what is left out is the server's default.

    ``mode``: hybrid, lexical or vector. ``targets``: events, documents, toc, grips. ``rerank``: auto, on or off. ``min_visibility``: what a
    write returned, to find it. ``timeout_ms``: the server's time for it. ``time_phrases``: whether words such as "last week" in the
    question narrow it down, read in ``timezone`` (an IANA name); ``since`` or ``until`` switch that off.
    """

    limit: int
    mode: str
    targets: Sequence[str]
    rerank: str
    min_visibility: str
    timeout_ms: int
    explain: bool
    time_phrases: bool
    timezone: str


class ContextOptions(Filters, total=False):
    """How to fill a context; ``recent`` is how many of the last events to offer besides what the query finds.

    ``calendar``: whether lines of the calendar may tell what is older than two weeks.

    ``time_phrases`` and ``timezone`` are as in ``SearchOptions``.
    """

    recent: int
    calendar: bool
    min_visibility: str
    timeout_ms: int
    time_phrases: bool
    timezone: str


class ListOptions(TypedDict, total=False):
    """Which events to list, in which ``order`` (asc or desc by occurred_at), ``limit`` to a page (at most 200)."""

    session_id: str
    kind: str
    role: str
    actor: str
    channel: str
    thread_id: str
    priority: str
    since: Moment
    until: Moment
    order: str
    limit: int


class DocumentOptions(TypedDict, total=False):
    """What else is known of a document. ``media_type``: text/markdown or text/plain. ``labels``: who may see it, any of these."""

    title: str
    source: str
    media_type: str
    occurred_at: Moment
    metadata: Metadata
    labels: Sequence[str]


class TokenOptions(TypedDict, total=False):
    """What a credential may do: ``memories`` None means all of the tenant's; ``rights`` or a ``role``.

    ``label`` says what it is for; of what has ``labels`` it sees what has one of these, None means all.
    Rights: append, search, erase, admin. Roles: reader, writer, curator, admin.
    """

    memories: Sequence[str] | None
    rights: Sequence[str]
    role: str
    label: str
    labels: Sequence[str] | None
    expires_at: Moment


_FILTERS = frozenset(Filters.__annotations__)


def list_memories(*, cursor: str | None = None, limit: int = 200) -> Request[results.Page[results.MemoryInfo]]:
    """The memories of the credential, by name."""
    return Request(method="GET", path="/memories", params=_page(cursor, limit), result=results.Page[results.MemoryInfo])


def get_memory(memory: str) -> Request[results.MemoryInfo]:
    """One memory and its counts."""
    return Request(method="GET", path=_in(memory), result=results.MemoryInfo)


def create_memory(
    memory: str,
    *,
    description: str | None = None,
    quota: Mapping[str, int] | None = None,
    redaction: Mapping[str, object] | None = None,
    isolation: Isolation | None = None,
    retention: Mapping[str, object] | None = None,
) -> Request[results.MemoryInfo]:
    """Create a memory; the same again changes nothing."""
    body = _given(description=description, quota=quota, redaction=redaction, isolation=isolation, retention=retention)
    return Request(method="PUT", path=_in(memory), body=encoded(body), result=results.MemoryInfo)


def change_memory(
    memory: str,
    *,
    description: str | None = None,
    quota: Mapping[str, int] | None = None,
    redaction: Mapping[str, object] | None = None,
    retention: Mapping[str, object] | UnsetType | None = UNSET,
) -> Request[results.MemoryInfo]:
    """Change what is given and leave the rest; a *retention* of None is taken away."""
    body = _given(description=description, quota=quota, redaction=redaction)
    if retention is not UNSET:
        body["retention"] = retention
    return Request(method="PATCH", path=_in(memory), body=encoded(body), result=results.MemoryInfo)


def append(memory: str, events: Sequence[bytes], *, wait_s: float | None = None) -> Request[results.AppendReceipt]:
    """Append events that are JSON already; each must carry its id, which makes this repeatable."""
    headers = {} if wait_s is None else {"Prefer": f"wait={wait_s:g}"}
    body = b'{"events":[' + b",".join(events) + b"]}"
    return Request(method="POST", path=_in(memory, "events"), body=body, headers=headers, result=results.AppendReceipt)


def list_events(memory: str, *, cursor: str | None = None, **options: Unpack[ListOptions]) -> Request[results.Page[results.Event]]:
    """Events by occurred_at."""
    params = {_WIRE_NAMES.get(name, name): _text(value) for name, value in options.items() if value is not None}
    if cursor is not None:
        params["cursor"] = cursor
    return Request(method="GET", path=_in(memory, "events"), params=params, result=results.Page[results.Event])


def get_event(memory: str, event_id: str, *, before: int = 0, after: int = 0) -> Request[results.EventInContext]:
    """One event and its neighbours in the session."""
    params = {"before": str(before), "after": str(after)}
    return Request(method="GET", path=_in(memory, "events", event_id), params=params, result=results.EventInContext)


def search(memory: str, query: str, **options: Unpack[SearchOptions]) -> Request[results.SearchAnswer]:
    """Find events, documents, nodes of the calendar or grips."""
    return Request(method="POST", path=_in(memory, "search"), body=_question({"query": query}, options), result=results.SearchAnswer)


def feedback(memory: str, verdict: Verdict, *, event_id: str | None, satisfaction: int | None) -> Request[results.Feedback]:
    """Say how an answer was; doing it twice counts twice."""
    given = {"verdict": verdict, "event_id": event_id, "satisfaction": satisfaction}
    body = encoded({name: value for name, value in given.items() if value is not None})
    return Request(method="POST", path=_in(memory, "feedback"), body=body, result=results.Feedback, repeatable=False)


def context(memory: str, *, query: str | None, max_tokens: int, **options: Unpack[ContextOptions]) -> Request[results.ContextAnswer]:
    """A prompt-ready block of at most *max_tokens* tokens."""
    body = _question(_given(query=query, max_tokens=max_tokens), options)
    return Request(method="POST", path=_in(memory, "context"), body=body, result=results.ContextAnswer)


def list_sessions(memory: str, *, cursor: str | None = None, limit: int = 200) -> Request[results.Page[results.Session]]:
    """Sessions, the last active first."""
    return Request(method="GET", path=_in(memory, "sessions"), params=_page(cursor, limit), result=results.Page[results.Session])


def get_session(memory: str, session_id: str) -> Request[results.Session]:
    """One session."""
    return Request(method="GET", path=_in(memory, "sessions", session_id), result=results.Session)


def put_document(memory: str, document_id: str, text: str, **options: Unpack[DocumentOptions]) -> Request[results.Document]:
    """Keep a document; the same content again changes nothing, other content replaces it."""
    body = {"document_id": document_id, "text": text, **{name: _json(value) for name, value in options.items() if value is not None}}
    return Request(method="POST", path=_in(memory, "documents"), body=encoded(body), result=results.Document)


def list_documents(memory: str, *, cursor: str | None = None, limit: int = 200) -> Request[results.Page[results.Document]]:
    """Documents by id."""
    return Request(method="GET", path=_in(memory, "documents"), params=_page(cursor, limit), result=results.Page[results.Document])


def get_document(memory: str, document_id: str) -> Request[results.Document]:
    """One document, without its text."""
    return Request(method="GET", path=_in(memory, "documents", document_id), result=results.Document)


def remove_document(memory: str, document_id: str) -> Request[results.RemovedDocument]:
    """Take a document back; a repetition after a lost answer finds nothing left."""
    return Request(method="DELETE", path=_in(memory, "documents", document_id), result=results.RemovedDocument)


def list_tokens(*, cursor: str | None = None) -> Request[results.Page[results.Token]]:
    """Credentials of the tenant, without their secrets; the list takes no limit."""
    return Request(method="GET", path="/tokens", params=_given_text(cursor=cursor), result=results.Page[results.Token])


def create_token(**options: Unpack[TokenOptions]) -> Request[results.NewToken]:
    """Make a credential; doing it twice makes two."""
    body = {name: _json(value) for name, value in options.items()}
    return Request(method="POST", path="/tokens", body=encoded(body), result=results.NewToken, repeatable=False)


def revoke_token(token_id: str) -> Request[results.Nothing]:
    """Make a credential useless."""
    return Request(method="DELETE", path="/tokens/" + quote(token_id, safe=""), result=results.Nothing)


def rotate_token(token_id: str, *, overlap_s: int) -> Request[results.NewToken]:
    """Give a credential a new id and secret; it can be done once."""
    path = "/tokens/" + quote(token_id, safe="") + "/rotate"
    return Request(method="POST", path=path, body=encoded({"overlap_s": overlap_s}), result=results.NewToken, repeatable=False)


def list_agents(*, cursor: str | None = None) -> Request[results.Page[results.Agent]]:
    """Agents of the tenant; the list takes no limit."""
    return Request(method="GET", path="/agents", params=_given_text(cursor=cursor), result=results.Page[results.Agent])


def create_agent(public_key: str, **options: Unpack[TokenOptions]) -> Request[results.Agent]:
    """Register an agent's key; doing it twice is refused."""
    body = {"public_key": public_key, **{name: _json(value) for name, value in options.items()}}
    return Request(method="POST", path="/agents", body=encoded(body), result=results.Agent, repeatable=False)


def revoke_agent(agent_id: str) -> Request[results.Nothing]:
    """Make an agent's key useless."""
    return Request(method="DELETE", path="/agents/" + quote(agent_id, safe=""), result=results.Nothing)


def rebuild_toc(*, memory: str | None, from_date: date | None, dry_run: bool) -> Request[results.OperationStarted]:
    """Write the calendar anew."""
    body: dict[str, object] = {"dry_run": dry_run}
    if memory is not None:
        body["memory"] = memory
    if from_date is not None:
        body["from_date"] = from_date.isoformat()
    return Request(method="POST", path="/admin/toc-rebuilds", body=encoded(body), result=results.OperationStarted, repeatable=False)


def reindex(*, projection: str = "all", dry_run: bool = False) -> Request[results.OperationStarted]:
    """Start to rebuild a projection (lexical, vector or all) from the log."""
    body = encoded({"projection": projection, "dry_run": dry_run})
    return Request(method="POST", path="/admin/reindexes", body=body, result=results.OperationStarted, repeatable=False)


def compact(*, store: str = "all") -> Request[results.OperationStarted]:
    """Start to let every store, or one (lexical, vector, timeline or calendar), give back what it does not need."""
    params = {} if store == "all" else {"store": store}
    return Request(method="POST", path="/admin/compactions", params=params, result=results.OperationStarted, repeatable=False)


def rotate_keys(*, dry_run: bool = False) -> Request[results.OperationStarted]:
    """Start to wrap every data key under the newest key-encryption key; a dry run only counts."""
    body = encoded({"dry_run": dry_run})
    return Request(method="POST", path="/admin/key-rotations", body=body, result=results.OperationStarted, repeatable=False)


def list_operations(*, cursor: str | None = None, limit: int = 200) -> Request[results.Page[results.Operation]]:
    """Long pieces of work, newest first."""
    return Request(method="GET", path="/operations", params=_page(cursor, limit), result=results.Page[results.Operation])


def get_operation(operation_id: str) -> Request[results.Operation]:
    """How a long piece of work goes."""
    return Request(method="GET", path="/operations/" + quote(operation_id, safe=""), result=results.Operation)


def cancel_operation(operation_id: str) -> Request[results.Nothing]:
    """Ask a long piece of work to stop."""
    return Request(method="DELETE", path="/operations/" + quote(operation_id, safe=""), result=results.Nothing)


def list_dead_letters(*, cursor: str | None = None, limit: int = 200) -> Request[results.Page[results.DeadLetter]]:
    """Messages that could not be indexed, oldest first."""
    return Request(method="GET", path="/dead-letters", params=_page(cursor, limit), result=results.Page[results.DeadLetter])


def replay_dead_letter(dead_letter_id: str) -> Request[results.Replayed]:
    """Have a message indexed again; versions guard against doing it twice."""
    return Request(method="POST", path=f"/dead-letters/{quote(dead_letter_id, safe='')}/replay", result=results.Replayed)


def list_jobs() -> Request[results.Page[results.Job]]:
    """Scheduled jobs, all on one page."""
    return Request(method="GET", path="/scheduler/jobs", result=results.Page[results.Job])


def change_job(name: str, action: str) -> Request[results.Job]:
    """Pause, resume, run or reset-checkpoint; a run that is asked for twice is at worst done twice, which changes nothing."""
    return Request(method="POST", path=f"/scheduler/jobs/{quote(name, safe='')}/{action}", result=results.Job)


def get_status(*, digests: bool = False) -> Request[results.Status]:
    """The instance as a whole; *digests* also of what each projection holds, which reads all of it."""
    return Request(method="GET", path="/status", params={"digests": "true"} if digests else {}, result=results.Status)


_WIRE_NAMES = {"since": "from", "until": "to"}


def encoded(body: object) -> bytes:
    """*body* as JSON.

    Raises:
        Invalid: a text in it holds a lone surrogate, which no JSON in UTF-8 can carry.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        detail = "holds a lone surrogate, which no store can round-trip"
        raise Invalid(detail, faults=[Fault(pointer="", detail=detail, code="character")]) from error


def moment_text(value: Moment) -> str:
    """A moment as RFC 3339.

    Raises:
        Invalid: a datetime without an offset, which would mean another moment on another machine.
    """
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise Invalid(f"the time {value.isoformat()} needs an offset")
    return value.isoformat()


def _in(memory: str, *parts: str) -> str:
    return "/".join(["/memories", memory_name(memory), *(quote(part, safe="") for part in parts)])


def _page(cursor: str | None, limit: int) -> dict[str, str]:
    return {"limit": str(limit)} | _given_text(cursor=cursor)


def _given_text(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}


def _given(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _question(body: dict[str, Any], options: Mapping[str, Any]) -> bytes:
    chosen: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        target = chosen if name in _FILTERS else body
        target[_WIRE_NAMES.get(name, name)] = _json(value)
    if chosen:
        body["filter"] = chosen
    return encoded(body)


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _text(value: Any) -> str:
    return moment_text(value) if isinstance(value, datetime) else str(value)
