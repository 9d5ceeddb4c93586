"""What the client and the broker can fail with, and what each failure is called here.

Belongs here: the one table of foreign errors and the one place that applies it. Does not belong here: deciding what to do about them.
A newcomer would get wrong: a timeout says nothing about the outcome, and a publish that the broker forbids is only ever seen as one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from kalends.domain.errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    KalendsError,
    Misconfigured,
    NotFound,
    Throttled,
    TooLarge,
    Unavailable,
)
from kalends.kit import tasks

DEPENDENCY = "nats"

FULL = frozenset({10077, 10047, 10028})
"""Maximum bytes or messages, insufficient storage, account resources exceeded."""
_NO_PEERS = 10005
_NO_ROOM = "placement, insufficient storage"
"""How the broker's words for "no suitable peers" end if room is all that is missing; a server that is away is named among the reasons."""
STALE = frozenset({10071, 10070, 10164})
"""Another write came first: the expected last sequence (of a subject) is not it."""
DUPLICATE_IN_BATCH = 10201
NO_CONSUMER = 10014
NO_STREAM = 10059
NO_MESSAGE = 10037
BATCH_LOST = frozenset({10174, 10176, 10177, 10178, 10199, 10206, 10210, 10211})
"""An atomic batch that the broker did not take; nothing of it was stored."""

RETRY_AFTER = 1.0

_Made = Callable[[str], KalendsError]


def _unavailable(detail: str) -> KalendsError:
    return Unavailable(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER)


def _late(detail: str) -> KalendsError:
    return DeadlineExceeded(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER)


def _misconfigured(detail: str) -> KalendsError:
    return Misconfigured(detail, dependency=DEPENDENCY)


ERRORS: Mapping[type[BaseException], _Made] = {
    nats.errors.Error: _unavailable,
    nats.errors.TimeoutError: _late,
    nats.errors.NoRespondersError: _unavailable,
    nats.errors.StaleConnectionError: _unavailable,
    nats.errors.OutboundBufferLimitError: _unavailable,
    nats.errors.UnexpectedEOF: _unavailable,
    nats.errors.FlushTimeoutError: _late,
    nats.errors.ConnectionClosedError: _unavailable,
    nats.errors.SecureConnRequiredError: _misconfigured,
    nats.errors.SecureConnWantedError: _misconfigured,
    nats.errors.SecureConnFailedError: _unavailable,
    nats.errors.BadSubscriptionError: _unavailable,
    nats.errors.BadSubjectError: Invalid,
    nats.errors.BadHeaderError: Invalid,
    nats.errors.SlowConsumerError: _unavailable,
    nats.errors.BadTimeoutError: _misconfigured,
    nats.errors.AuthorizationError: _misconfigured,
    nats.errors.NoServersError: _unavailable,
    nats.errors.JsonParseError: _unavailable,
    nats.errors.MaxPayloadError: TooLarge,
    nats.errors.DrainTimeoutError: _late,
    nats.errors.ConnectionDrainingError: _unavailable,
    nats.errors.ConnectionReconnectingError: _unavailable,
    nats.errors.InvalidUserCredentialsError: _misconfigured,
    nats.errors.InvalidCallbackTypeError: _misconfigured,
    nats.errors.ProtocolError: _unavailable,
    nats.errors.ServerNotInPoolError: _misconfigured,
    nats.errors.NotJSMessageError: Invalid,
    nats.errors.MsgAlreadyAckdError: Conflict,
    nats.js.errors.Error: _unavailable,
    nats.js.errors.APIError: _unavailable,
    nats.js.errors.ServiceUnavailableError: _unavailable,
    nats.js.errors.ServerError: _unavailable,
    nats.js.errors.NotFoundError: NotFound,
    nats.js.errors.BadRequestError: Invalid,
    nats.js.errors.ConsumerInvalidResetError: Invalid,
    nats.js.errors.NoStreamResponseError: _unavailable,
    nats.js.errors.TooManyStalledMsgsError: _unavailable,
    nats.js.errors.FetchTimeoutError: _late,
    nats.js.errors.ConsumerSequenceMismatchError: _unavailable,
    nats.js.errors.BucketNotFoundError: NotFound,
    nats.js.errors.BadBucketError: _misconfigured,
    nats.js.errors.KeyValueError: _unavailable,
    nats.js.errors.KeyDeletedError: NotFound,
    nats.js.errors.KeyNotFoundError: NotFound,
    nats.js.errors.KeyWrongLastSequenceError: Conflict,
    nats.js.errors.NoKeysError: NotFound,
    nats.js.errors.KeyHistoryTooLargeError: _misconfigured,
    nats.js.errors.InvalidKeyError: Invalid,
    nats.js.errors.InvalidBucketNameError: Invalid,
    nats.js.errors.InvalidObjectNameError: Invalid,
    nats.js.errors.BadObjectMetaError: _unavailable,
    nats.js.errors.LinkIsABucketError: Invalid,
    nats.js.errors.DigestMismatchError: _unavailable,
    nats.js.errors.ObjectNotFoundError: NotFound,
    nats.js.errors.ObjectDeletedError: NotFound,
    nats.js.errors.ObjectAlreadyExists: Conflict,
    nats.js.errors.KeyValueLimitMarkerTTLNotSupportedError: _misconfigured,
    TimeoutError: _late,
    OSError: _unavailable,
}
"""Every exception class of the client, and the two of the platform that reach us through it; held complete by a test."""


def domain_error(error: BaseException) -> KalendsError | None:
    """What *error* is called here: the entry of its most specific class, refined by the broker's own code; None for what is not theirs."""
    if isinstance(error, nats.js.errors.APIError) and getattr(error, "err_code", None) is not None:
        return refusal(error.err_code or 0, error.description or "")
    for kind in type(error).__mro__:
        made = ERRORS.get(kind)
        if made is not None:
            return made(f"{DEPENDENCY}: {error}" if str(error) else f"{DEPENDENCY}: {type(error).__name__}")
    return None


def refusal(code: int, description: str) -> KalendsError:
    """What the broker's error *code* is called here."""
    detail = f"{DEPENDENCY}: {description} ({code})"
    if code in FULL or (code == _NO_PEERS and description.endswith(_NO_ROOM)):
        return Throttled(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER)
    if code in STALE:
        return Conflict(detail)
    if code in {NO_CONSUMER, NO_STREAM, NO_MESSAGE}:
        return NotFound(detail)
    if code == 10054:
        return TooLarge(detail)
    return _unavailable(detail)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the client raises in the block into domain errors; the cause is kept, and a cancellation that it loses is heeded.

    Raises:
        KalendsError: the client failed.
    """
    try:
        with tasks.heeded():
            yield
    except KalendsError:
        raise
    except Exception as error:
        known = domain_error(error)
        if known is None:
            raise
        raise known from error


def decoded(body: bytes) -> dict[str, object]:
    """The broker's JSON in *body*, be it an answer or a refusal.

    Raises:
        Unavailable: there is none, because nobody keeps the stream, or it cannot be read.
    """
    try:
        return dict(json.loads(body))
    except (ValueError, TypeError) as error:
        raise _unavailable("nats: an answer that cannot be read") from error


def refusal_code(reply: Mapping[str, object]) -> int:
    """The error code in a reply of the broker; 0 if it is not a refusal."""
    problem = reply.get("error")
    return int(problem.get("err_code", -1)) if isinstance(problem, dict) else 0


def accepted(reply: dict[str, object]) -> dict[str, object]:
    """*reply*, if it is not a refusal.

    Raises:
        KalendsError: it is one.
    """
    problem = reply.get("error")
    if isinstance(problem, dict):
        raise refusal(refusal_code(reply), str(problem.get("description", "")))
    return reply


def answer(body: bytes) -> dict[str, object]:
    """The broker's JSON answer in *body*.

    Raises:
        KalendsError: the answer is a refusal, or cannot be read.
    """
    return accepted(decoded(body))
