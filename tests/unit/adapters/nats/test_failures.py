"""Every failure of the client has a name here."""

import inspect
from types import ModuleType

import nats.errors
import nats.js.errors
import pytest

from kalends.adapters.nats.failures import ERRORS, decoded, domain_error, refusal, translated
from kalends.domain.errors import (
    Conflict,
    DeadlineExceeded,
    KalendsError,
    Misconfigured,
    NotFound,
    Throttled,
    TooLarge,
    Unavailable,
)


def exceptions_of(module: ModuleType) -> list[type[BaseException]]:
    """Every exception class that *module* defines."""
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BaseException) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", [*exceptions_of(nats.errors), *exceptions_of(nats.js.errors)], ids=lambda kind: kind.__qualname__)
def test_every_exception_of_the_client_is_mapped(kind: type[BaseException]) -> None:
    """A new release of the client that adds one fails here, not in production."""
    assert kind in ERRORS
    assert isinstance(ERRORS[kind]("detail"), KalendsError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (nats.errors.TimeoutError(), DeadlineExceeded),
        (TimeoutError(), DeadlineExceeded),
        (ConnectionResetError("reset"), Unavailable),
        (nats.errors.MaxPayloadError(), TooLarge),
        (nats.js.errors.KeyWrongLastSequenceError("wrong"), Conflict),
        (nats.js.errors.APIError(code=503, err_code=10077, description="maximum bytes exceeded"), Throttled),
        (nats.js.errors.NotFoundError(code=404, err_code=10059, description="stream not found"), NotFound),
        (nats.errors.AuthorizationError(), Misconfigured),
    ],
)
def test_the_most_specific_name_is_taken(error: BaseException, expected: type[KalendsError]) -> None:
    """The broker's own code decides before the class does."""
    assert type(domain_error(error)) is expected


async def test_translating_keeps_the_cause_and_leaves_the_rest_alone() -> None:
    """What is ours passes, and what is nobody's (a bug) is not dressed up."""
    with pytest.raises(Unavailable) as caught, translated():
        raise nats.errors.NoServersError
    assert isinstance(caught.value.__cause__, nats.errors.NoServersError)
    assert caught.value.dependency == "nats"
    with pytest.raises(Conflict), translated():
        raise Conflict
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError


def test_an_unknown_refusal_is_an_outage_and_an_empty_answer_too() -> None:
    """What is not understood is worth another try, never a wrong success."""
    assert isinstance(refusal(99999, "something new"), Unavailable)
    with pytest.raises(Unavailable):
        decoded(b"")


def test_a_cluster_without_room_is_full_and_one_without_servers_is_away() -> None:
    """Both have the same code; the words tell which, and trying again soon helps only in one case."""
    assert isinstance(refusal(10005, "no suitable peers for placement, insufficient storage"), Throttled)
    assert isinstance(refusal(10005, "no suitable peers for placement, peer offline, insufficient storage"), Unavailable)
    assert isinstance(refusal(10005, "no suitable peers for placement"), Unavailable)
