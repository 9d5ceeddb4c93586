"""Every failure of the HTTP client has a name here."""

import httpx
import pytest

from kalends.adapters.vllm.failures import HTTP_ERRORS, refusal, translate
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable

SECRET = "Bertrand the turtle"
FOREIGN = [error for error in vars(httpx).values() if isinstance(error, type) and issubclass(error, Exception)]


@pytest.mark.parametrize("foreign", [error for error in FOREIGN if error is not httpx.CookieConflict], ids=lambda error: error.__name__)
def test_every_exception_of_httpx_becomes_one_of_ours(foreign: type[Exception]) -> None:
    """A new release of httpx that adds one fails here, not in production."""
    assert issubclass(foreign, tuple(HTTP_ERRORS))


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (httpx.ReadTimeout(SECRET), DeadlineExceeded),
        (httpx.RemoteProtocolError(SECRET), Unavailable),
        (httpx.ConnectError(SECRET), Unavailable),
        (httpx.InvalidURL(SECRET), Misconfigured),
        (httpx.ResponseNotRead(), Unavailable),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_the_text_of_a_foreign_exception_is_left_out(foreign: Exception, ours: type[KalendsError]) -> None:
    """It may quote what was sent."""
    error = translate(foreign, dependency="model", subject="the model")

    assert type(error) is ours
    assert error.dependency == "model"
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("status", "ours"), [(400, Invalid), (413, Invalid), (422, Invalid), (404, Unavailable), (429, Unavailable), (500, Unavailable)]
)
def test_only_a_refused_question_is_not_worth_waiting_for(status: int, ours: type[KalendsError]) -> None:
    """Everything else may pass."""
    error = refusal(status, dependency="model", subject="the model")

    assert type(error) is ours
    assert str(status) in error.detail
