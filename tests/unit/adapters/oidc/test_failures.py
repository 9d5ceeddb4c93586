"""Every failure of PyJWT and of httpx has a name here."""

import inspect

import httpx
import jwt
import pytest

from kalends.adapters.oidc.failures import HTTP_ERRORS, JWT_ERRORS, refusal, unreachable
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unauthenticated, Unavailable


def test_every_exception_of_pyjwt_is_mapped() -> None:
    """By itself or by a parent that is in the table."""
    defined = [kind for _, kind in inspect.getmembers(jwt.exceptions, inspect.isclass) if issubclass(kind, Exception)]

    assert [kind for kind in defined if not issubclass(kind, tuple(JWT_ERRORS))] == []
    assert defined != []


def test_every_exception_of_httpx_is_mapped() -> None:
    """Those that a request or the reading of an answer may raise."""
    defined = [kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, Exception)]

    # cookies are not used
    assert [kind.__name__ for kind in defined if not issubclass(kind, tuple(HTTP_ERRORS))] == ["CookieConflict"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (jwt.ExpiredSignatureError("words"), "expired"),
        (jwt.ImmatureSignatureError("words"), "not_yet"),
        (jwt.InvalidAudienceError("words"), "audience"),
        (jwt.InvalidIssuerError("words"), "issuer"),
        (jwt.InvalidSignatureError("words"), "signature"),
        (jwt.InvalidAlgorithmError("words"), "algorithm"),
        (jwt.MissingRequiredClaimError("words"), "claims"),
        (jwt.DecodeError("words"), "form"),
        (RecursionError(), "form"),
        (OverflowError(), "claims"),
    ],
)
def test_a_refusal_has_a_reason_and_says_nothing_of_the_token(error: Exception, reason: str) -> None:
    """The most specific reason wins; a subclass has it as its parent's."""
    told = refusal(error)

    assert isinstance(told, Unauthenticated)
    assert told.reason == reason
    assert "words" not in told.detail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("words"), Unavailable),
        (httpx.ReadTimeout("words"), DeadlineExceeded),
        (httpx.UnsupportedProtocol("words"), Misconfigured),
        (httpx.RemoteProtocolError("words"), Unavailable),
    ],
)
def test_what_cannot_be_asked_is_named_without_the_librarys_words(error: Exception, kind: type[KalendsError]) -> None:
    """They may quote what was sent."""
    told = unreachable(error, name="the issuer")

    assert type(told) is kind
    assert "words" not in told.detail
    assert told.dependency == "identities"
