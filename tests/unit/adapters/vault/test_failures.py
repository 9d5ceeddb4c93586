"""Every failure of the HTTP client has a name here."""

import httpx
import pytest

from kalends.adapters.vault.failures import HTTP_ERRORS, translate
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable

SECRET = "a key of somebody"
FOREIGN = [error for error in vars(httpx).values() if isinstance(error, type) and issubclass(error, Exception)]


@pytest.mark.parametrize("foreign", [error for error in FOREIGN if error is not httpx.CookieConflict], ids=lambda error: error.__name__)
def test_every_exception_of_httpx_becomes_one_of_ours(foreign: type[Exception]) -> None:
    """A new release of httpx that adds one fails here, not in production."""
    assert issubclass(foreign, tuple(HTTP_ERRORS))


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [(httpx.ReadTimeout(SECRET), DeadlineExceeded), (httpx.ConnectError(SECRET), Unavailable), (httpx.InvalidURL(SECRET), Misconfigured)],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_the_text_of_a_foreign_exception_is_left_out(foreign: Exception, ours: type[KalendsError]) -> None:
    """It may quote what was sent."""
    error = translate(foreign)

    assert type(error) is ours
    assert error.dependency == "vault"
    assert SECRET not in str(error)
