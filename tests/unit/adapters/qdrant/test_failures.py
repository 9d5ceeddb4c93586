"""Every failure of Qdrant and of its client has a name here."""

import asyncio
import inspect

import grpc
import httpx
import pydantic
import pytest
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions

from kalends.adapters.qdrant.failures import CLIENT_ERRORS, STATUS_ERRORS, translate, translated
from kalends.domain.errors import Conflict, Damaged, DeadlineExceeded, KalendsError, Misconfigured, NotFound, TooLarge, Unavailable


def refused(code: grpc.StatusCode, details: str = "said") -> grpc.aio.AioRpcError:
    """What a call raises that is answered with *code*."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


def answered(status: int) -> exceptions.UnexpectedResponse:
    """What a REST call raises that is answered with *status*."""
    return exceptions.UnexpectedResponse(status, "reason", b"said", httpx.Headers())


def test_every_status_but_ok_is_mapped() -> None:
    """A new one fails here, not in production."""
    assert set(STATUS_ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("module", [client_exceptions, exceptions], ids=lambda module: module.__name__)
def test_every_exception_of_the_client_is_mapped(module) -> None:
    """By itself or by a parent that is in the table."""
    defined = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]

    assert [kind for kind in defined if not issubclass(kind, tuple(CLIENT_ERRORS))] == []
    assert defined != []


@pytest.mark.parametrize("name", ["UsageError", "AioRpcError", "AbortError", "BaseError", "InternalError"])
def test_every_exception_of_grpc_is_mapped(name: str) -> None:
    """Also those that no call was answered with."""
    assert issubclass(getattr(grpc.aio, name), tuple(CLIENT_ERRORS))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused(grpc.StatusCode.UNAVAILABLE), Unavailable),
        (refused(grpc.StatusCode.INTERNAL), Unavailable),
        (refused(grpc.StatusCode.DEADLINE_EXCEEDED), DeadlineExceeded),
        (refused(grpc.StatusCode.NOT_FOUND), NotFound),
        (refused(grpc.StatusCode.ALREADY_EXISTS), Conflict),
        (refused(grpc.StatusCode.INVALID_ARGUMENT), Misconfigured),
        (refused(grpc.StatusCode.UNAUTHENTICATED), Misconfigured),
        (refused(grpc.StatusCode.DATA_LOSS), Damaged),
        (answered(400), Misconfigured),
        (answered(401), Misconfigured),
        (answered(404), NotFound),
        (answered(409), Conflict),
        (answered(413), TooLarge),
        (answered(503), Unavailable),
        (answered(504), DeadlineExceeded),
        (client_exceptions.ResourceExhaustedResponse("busy", 7), Unavailable),
        (exceptions.ResponseHandlingException(httpx.ConnectError("refused")), Unavailable),
        (exceptions.ResponseHandlingException(httpx.ReadTimeout("late")), DeadlineExceeded),
        (grpc.aio.UsageError("closed"), Unavailable),
    ],
    ids=repr,
)
async def test_a_failure_becomes_the_one_that_decides_what_happens_next(error: Exception, expected: type[KalendsError]) -> None:
    """Retry, give up, or say which setting is wrong; the dependency is named, and the cause is kept."""
    with pytest.raises(expected) as caught:
        async with translated(deadline_s=5.0):
            raise error

    assert type(caught.value) is expected
    assert (caught.value.dependency, caught.value.__cause__) == ("vector", error)


def test_the_time_to_wait_is_passed_on() -> None:
    """A server that is asked too often says when it wants to be asked again."""
    ours = translate(client_exceptions.ResourceExhaustedResponse("busy", 7))

    assert ours is not None
    assert ours.retry_after == 7.0


def test_an_answer_that_cannot_be_read_is_damage() -> None:
    """Over REST that is how a NaN shows that was stored over gRPC."""
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(float).validate_python(None)

    for error in (caught.value, exceptions.ResponseHandlingException(caught.value)):
        assert isinstance(translate(error), Damaged)


async def test_a_mistake_of_ours_passes_as_it_is() -> None:
    """It must be seen, and not be taken for an outage."""
    with pytest.raises(ZeroDivisionError):
        async with translated(deadline_s=5.0):
            _ = 1 // 0


async def test_the_deadline_ends_the_block() -> None:
    """And says how long it was."""
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
        async with translated(deadline_s=0.01):
            await asyncio.Event().wait()


def test_a_long_answer_is_cut() -> None:
    """An error is no place for a page."""
    assert len(str(translate(refused(grpc.StatusCode.INTERNAL, "x" * 5000)))) < 400
