"""Forgetting, as values and requests.

Belongs here: erasures, receipts, holds, and what is sent about them. Does not belong here: sending. A newcomer would get wrong: what is
asked for is hidden once the answer is there, and gone only when ``state`` is erased; asking twice forgets once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import quote

from msgspec import Struct, field

from kalends.client import errors, exchanges
from kalends.client.approvals import Approval
from kalends.client.exchanges import Flow, Pause, RetryPolicy
from kalends.client.requests import Metadata, Moment, Request, encoded, moment_text
from kalends.client.results import Page
from kalends.domain.events import new_ulid
from kalends.domain.scope import memory_name
from kalends.kit import backoff


class ForgetOptions(TypedDict, total=False):
    """What to forget, by exactly one of these: ids, a session, an actor, a document, tags, a label, a stretch of time, or everything.

    ``since`` ≤ occurred_at < ``until``. ``dry_run`` only counts; for ``undo_s`` seconds it is only hidden. ``reason``: request,
    consent_withdrawn, retention, legal or other. ``idempotency_key``: the same again with the same key is the same erasure.
    """

    event_ids: Sequence[str]
    session_id: str
    actor: str
    document_id: str
    metadata: Metadata
    label: str
    since: Moment
    until: Moment
    everything: bool
    dry_run: bool
    undo_s: int
    reason: str
    idempotency_key: str


class Erasure(Struct, frozen=True, kw_only=True):
    """An erasure: ``state`` is hidden, unreadable, erased or undone, and in a dry run planned; ``counts`` by store.

    ``state`` waiting: a second person must approve it first (``approval``), and nothing has happened yet.
    """

    erasure_id: str
    state: str
    memory: str = ""
    selector: str = ""
    reason: str = ""
    requested_by: str = ""
    requested_at: datetime | None = None
    undo_until: datetime | None = None
    undoable: bool = False
    times: dict[str, datetime] = {}
    counts: dict[str, int] = {}
    receipt: bool = False
    dry_run: bool = False
    approval: Approval | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in {"erased", "undone", "planned", "waiting"}


class Hold(Struct, frozen=True, kw_only=True):
    """Something that must not be erased. ``too_late``: erasures that were under way when it was set."""

    name: str
    set_by: str = ""
    set_at: datetime | None = None
    session_id: str | None = None
    since: datetime | None = field(name="from", default=None)
    until: datetime | None = field(name="to", default=None)
    everything: bool = False
    too_late: list[str] = []


_WIRE_NAMES = {"since": "from", "until": "to"}


def forget(memory: str, options: Mapping[str, Any]) -> Request[Erasure]:
    """Forget what *options* name."""
    said = {name: value for name, value in options.items() if name != "idempotency_key"}
    body = {_WIRE_NAMES.get(name, name): _json(value) for name, value in said.items() if value is not None}
    # chosen before the first try, so that a retry after a lost answer forgets once
    headers = {"Idempotency-Key": str(options.get("idempotency_key") or new_ulid(datetime.now(UTC)))}
    return Request(method="POST", path=_in(memory, "erasures"), body=encoded(body), headers=headers, result=Erasure)


def forget_memory(memory: str, *, undo_s: int, idempotency_key: str | None = None) -> Request[Erasure]:
    """Forget a memory with everything in it; the same again with the same key is the same erasure, also when the memory is gone."""
    headers = {"Idempotency-Key": idempotency_key or str(new_ulid(datetime.now(UTC)))}
    return Request(method="DELETE", path=_in(memory), params={"undo_s": str(undo_s)} if undo_s else {}, headers=headers, result=Erasure)


def list_erasures(memory: str, *, cursor: str | None = None, limit: int = 200) -> Request[Page[Erasure]]:
    """Erasures, newest first."""
    params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    return Request(method="GET", path=_in(memory, "erasures"), params=params, result=Page[Erasure])


def get_erasure(memory: str, erasure_id: str) -> Request[Erasure]:
    """How an erasure goes."""
    return Request(method="GET", path=_in(memory, "erasures", erasure_id), result=Erasure)


def undo(memory: str, erasure_id: str) -> Request[Erasure]:
    """Show again what is only hidden."""
    return Request(method="DELETE", path=_in(memory, "erasures", erasure_id), result=Erasure, repeatable=False)


def get_receipt(memory: str, erasure_id: str) -> Request[dict[str, Any]]:
    """The signed receipt."""
    return Request(method="GET", path=_in(memory, "erasures", erasure_id, "receipt"), result=dict[str, Any])


def set_hold(memory: str, name: str, options: Mapping[str, Any]) -> Request[Hold]:
    """Keep something from being erased."""
    body = {_WIRE_NAMES.get(key, key): _json(value) for key, value in options.items() if value is not None}
    return Request(method="PUT", path=_in(memory, "holds", name), body=encoded(body), result=Hold)


def list_holds(memory: str) -> Request[Page[Hold]]:
    """What must not be erased."""
    return Request(method="GET", path=_in(memory, "holds"), result=Page[Hold])


def release_hold(memory: str, name: str) -> Request[Hold]:
    """Let it be erased again."""
    return Request(method="DELETE", path=_in(memory, "holds", name), result=Hold)


def wait_for(memory: str, erasure_id: str, *, policy: RetryPolicy, timeout_s: float) -> Flow[Erasure]:
    """Ask until an erasure has ended.

    Raises:
        WaitedTooLong: it has not ended within *timeout_s*; it goes on.
    """
    started = policy.now()
    for pause in backoff.pauses(first=0.1, longest=1.0, choose=policy.choose):
        erasure = yield from exchanges.exchange(get_erasure(memory, erasure_id), policy=policy)
        if erasure.ended:
            return erasure
        if policy.now() - started + pause > timeout_s:
            raise errors.WaitedTooLong(f"erasure {erasure_id} is still {erasure.state} after {timeout_s:g} s")
        yield Pause(pause)
    raise RuntimeError("the pauses never end")


def _in(memory: str, *parts: str) -> str:
    return "/".join(["/memories", memory_name(memory), *(quote(part, safe="") for part in parts)])


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
