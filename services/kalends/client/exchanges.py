"""How a request becomes an answer: reading, retrying, appending in batches, waiting. No I/O, no clock of its own, no sleep.

Belongs here: flows, which are generators that yield what is to be done next (a ``Request`` to send or a ``Pause`` to keep) and are given
the ``Answer``. Does not belong here: doing it; ``blocking`` and ``asynchronous`` each drive these flows in a few lines. A newcomer would
get wrong: a failed transport is *thrown* into the flow as ``Unreachable``, so that one place decides what is tried again.
"""

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import msgspec

from kalends.client import errors, events, requests
from kalends.client.requests import Request
from kalends.client.results import AppendReceipt, AppendResult, Operation, Rejection
from kalends.domain import errors as domain
from kalends.domain import positions
from kalends.domain.errors import Fault
from kalends.kit import backoff

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long, in seconds, before going on."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Names of ``headers`` are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


Step = Request[Any] | Pause
Flow = Generator[Step, Answer | None, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How stubborn the client is; times in seconds.

    Pauses double from ``first_s`` to ``longest_s``, with jitter, and are never shorter than the server's Retry-After. After ``total_s``
    the last error is raised; 0 never retries. ``on_retry`` is told of every retry: the error and the pause before the next try.
    """

    first_s: float = 0.1
    longest_s: float = 5.0
    total_s: float = 60.0
    on_retry: Callable[[errors.ClientError, float], None] | None = None
    now: Callable[[], float] = time.monotonic
    choose: Random | None = None


def exchange(request: Request[T], *, policy: RetryPolicy) -> Flow[T]:
    """Send *request* until it is answered or *policy* gives up.

    Raises:
        ClientError: the last error, of the type that names it.
    """
    started = policy.now()
    pauses = backoff.pauses(first=policy.first_s, longest=policy.longest_s, choose=policy.choose)
    while True:
        try:
            return read(request, answered((yield request)))
        except errors.ClientError as error:
            if not worth_retrying(error, repeatable=request.repeatable):
                raise
            pause = max(next(pauses), error.retry_after or 0.0)
            if policy.now() - started + pause > policy.total_s:
                raise
            if policy.on_retry is not None:
                policy.on_retry(error, pause)
        yield Pause(pause)


def answered(answer: Answer | None) -> Answer:
    """The answer that a driver owes after a request.

    Raises:
        RuntimeError: the driver gave none; a programming error.
    """
    if answer is None:
        raise RuntimeError("a request was resumed without its answer")
    return answer


def worth_retrying(error: errors.ClientError, *, repeatable: bool) -> bool:
    """Whether the same request may succeed later, and may be sent again without harm."""
    match error:
        case errors.Throttled():
            return True
        case errors.Unreachable():
            return repeatable or not error.sent
        case errors.Unavailable() | errors.DeadlineExceeded():
            return repeatable
        case _:
            return False


def read(request: Request[T], answer: Answer) -> T:
    """The value that *answer* holds.

    Raises:
        Problem: the server says that it did not do what was asked.
        Unreadable: the answer is not what the contract promises.
    """
    if not 200 <= answer.status < 300:
        raise problem(answer)
    try:
        return msgspec.json.decode(answer.content or b"{}", type=request.result)
    except msgspec.MsgspecError as error:
        raise errors.Unreadable(f"{request.method} {request.path}: {error}") from error


class _Fault(msgspec.Struct):
    pointer: str = ""
    detail: str = ""
    code: str = ""


class _Problem(msgspec.Struct):
    """A problem as it travels; everything may be missing, because proxies answer too."""

    detail: str | None = None
    title: str | None = None
    code: str | None = None
    request_id: str | None = None
    errors: list[_Fault] = []
    retry_after_s: float | None = None
    dependency: str | None = None


def problem(answer: Answer) -> errors.ClientError:
    """The error that *answer* stands for."""
    try:
        found = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        found = _Problem()
    kind = errors.BY_CODE.get(found.code or "") or errors.BY_STATUS.get(answer.status)
    if kind is None:
        if answer.status < 500:
            return errors.Unreadable(f"unexpected status {answer.status}; is this the address of Kalends?")
        kind = errors.Problem
    return kind(
        found.detail or found.title or f"{kind.title} (status {answer.status})",
        faults=[Fault(pointer=one.pointer, detail=one.detail, code=one.code) for one in found.errors],
        dependency=found.dependency,
        retry_after=found.retry_after_s if found.retry_after_s is not None else _seconds(answer.headers.get("retry-after")),
        status=answer.status,
        request_id=found.request_id or answer.headers.get("x-request-id"),
    )


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and re.fullmatch(r"\d{1,9}", header) else None


@dataclass(slots=True)
class _Progress:
    """How far an append has come."""

    results: list[AppendResult] = field(default_factory=list)
    floors: dict[str, int] = field(default_factory=dict)
    visibility: str = ""

    def take(self, results: Iterable[AppendResult], *, visibility: str) -> None:
        """Add a batch; the visibility of all is the highest of each, where the token can be read, else the last one."""
        self.results.extend(results)
        if not visibility:
            return
        try:
            found = positions.visibility_floors(visibility)
        except domain.Invalid:  # a newer server's token: opaque, and later tokens of one memory reach further
            self.visibility = visibility
            return
        for stream, sequence in found.items():
            self.floors[stream] = max(sequence, self.floors.get(stream, 0))
        self.visibility = positions.visibility_token(self.floors)


def append(
    memory: str,
    given: events.Appendable | Iterable[events.Appendable],
    *,
    policy: RetryPolicy,
    wait_s: float | None = None,
    raise_on_rejected: bool = True,
) -> Flow[AppendReceipt]:
    """Append any number of events in requests that fit, each retried with the same ids.

    Raises:
        EventsRejected: *raise_on_rejected*, and some events broke a rule; the others are stored.
        ClientError: a request failed for good; ``results`` and ``pending`` of the error say how far the append came.
    """
    progress = _Progress()
    batches = events.batches(events.prepare(given))
    for batch in batches:
        try:
            receipt = yield from _append_batch(memory, batch, policy=policy, wait_s=wait_s)
        except errors.ClientError as error:
            error.results = tuple(progress.results)
            error.pending = tuple(one.event for rest in ([batch], batches) for later in rest for one in later)
            raise
        progress.take(receipt.results, visibility=receipt.visibility)
    if raise_on_rejected and any(result.error is not None for result in progress.results):
        raise errors.EventsRejected(progress.results)
    return AppendReceipt(results=progress.results, visibility=progress.visibility)


def _append_batch(memory: str, batch: Sequence[events.Prepared], *, policy: RetryPolicy, wait_s: float | None) -> Flow[AppendReceipt]:
    sendable = [one for one in batch if one.fault is None]
    visibility = ""
    became: dict[int, AppendResult] = {one.index: _rejected(one, one.fault) for one in batch if one.fault is not None}
    if sendable:
        request = requests.append(memory, [one.body for one in sendable], wait_s=wait_s)
        try:
            receipt = yield from exchange(request, policy=policy)
        except (errors.Invalid, errors.Conflict) as error:
            became.update(_all_rejected(sendable, error))
        else:
            if len(receipt.results) != len(sendable):
                raise errors.Unreadable(f"{len(receipt.results)} results for {len(sendable)} events")
            visibility = receipt.visibility
            for place, (one, result) in enumerate(zip(sendable, receipt.results, strict=True)):
                became[one.index] = _rebased(result, place=place, index=one.index)
    return AppendReceipt(results=[became[one.index] for one in batch], visibility=visibility)


_ITEM = re.compile(r"/events/(\d+)(/.*)?")


def _all_rejected(sent: Sequence[events.Prepared], error: errors.Problem) -> Iterator[tuple[int, AppendResult]]:
    """A refusal of every event, told apart by event; *error* is raised again where it is not about events."""
    by_place: dict[int, Fault] = {}
    for fault in error.faults:
        found = _ITEM.fullmatch(fault.pointer)
        if found:
            by_place.setdefault(int(found[1]), fault)
    if not by_place and not (isinstance(error, errors.Conflict) and len(sent) == 1):
        raise error
    for place, one in enumerate(sent):
        fault = by_place.get(place) or Fault(pointer=f"/events/{place}", detail=error.detail, code=error.code)
        result = _rejected(one, Rejection(pointer=fault.pointer, detail=fault.detail, code=fault.code))
        yield one.index, _rebased(result, place=place, index=one.index)


def _rejected(one: events.Prepared, fault: Rejection | None) -> AppendResult:
    return AppendResult(event_id=str(one.event["event_id"]), status="rejected", error=fault)


def _rebased(result: AppendResult, *, place: int, index: int) -> AppendResult:
    """Pointers of a request become pointers of the whole append."""
    if result.error is None or place == index:
        return result
    prefix = f"/events/{place}"
    if result.error.pointer != prefix and not result.error.pointer.startswith(prefix + "/"):
        return result
    pointer = f"/events/{index}{result.error.pointer.removeprefix(prefix)}"
    return msgspec.structs.replace(result, error=msgspec.structs.replace(result.error, pointer=pointer))


def wait_for(
    operation_id: str, *, policy: RetryPolicy, timeout_s: float, on_progress: Callable[[Operation], None] | None = None
) -> Flow[Operation]:
    """Ask until an operation has ended; *on_progress* sees every answer.

    Raises:
        WaitedTooLong: it has not ended within *timeout_s*; it goes on.
    """
    started = policy.now()
    for pause in backoff.pauses(first=0.1, longest=1.0, choose=policy.choose):
        operation = yield from exchange(requests.get_operation(operation_id), policy=policy)
        if on_progress is not None:
            on_progress(operation)
        if operation.ended:
            return operation
        if policy.now() - started + pause > timeout_s:
            raise errors.WaitedTooLong(f"operation {operation_id} is still {operation.state} after {timeout_s:g} s")
        yield Pause(pause)
    raise RuntimeError("the pauses never end")
