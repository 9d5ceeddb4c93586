"""The table of OpenSearch's refusals and its client's exceptions."""

import inspect
import ssl

import opensearchpy
import pytest
from opensearchpy import exceptions as foreign

from kalends.adapters.opensearch import failures
from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, NotFound, TooLarge, Unavailable

SECRET = "what somebody said"


def test_every_exception_that_a_request_can_raise_has_its_row() -> None:
    """A new one in the client fails here; those of its query builder, which is not used, have none."""
    builder = (foreign.OpenSearchDslException, Warning)
    known = [kind for _, kind in inspect.getmembers(foreign, inspect.isclass) if issubclass(kind, Exception)]
    ours = [kind for kind in known if kind.__module__ == foreign.__name__ and not issubclass(kind, builder)]

    assert {kind.__name__ for kind in ours} == {kind.__name__ for kind in failures.OPENSEARCH_ERRORS}


def test_the_most_specific_row_decides() -> None:
    """No row hides another one below it."""
    rows = list(failures.OPENSEARCH_ERRORS)

    assert [(a, b) for place, a in enumerate(rows) for b in rows[place + 1 :] if issubclass(b, a)] == []


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (foreign.ConnectionTimeout("TIMEOUT", SECRET, TimeoutError()), DeadlineExceeded),
        (foreign.ConnectionError("N/A", SECRET, OSError()), Unavailable),
        (foreign.SSLError("N/A", SECRET, OSError()), Unavailable),
        (foreign.NotFoundError(404, "index_not_found_exception", {"error": SECRET}), NotFound),
        (foreign.RequestError(400, SECRET, {"error": SECRET}), Damaged),
        (foreign.AuthenticationException(401, SECRET), Unavailable),
        (foreign.AuthorizationException(403, SECRET), Unavailable),
        (foreign.TransportError(403, failures.BLOCKED), Unavailable),
        (foreign.TransportError(413, SECRET), TooLarge),
        (foreign.TransportError(429, SECRET), Unavailable),
        (foreign.TransportError(503, SECRET), Unavailable),
        (foreign.TransportError(504, SECRET), DeadlineExceeded),
        (foreign.SerializationError(SECRET), Unavailable),
        (foreign.ImproperlyConfigured(SECRET), KalendsError),
        (ValueError(SECRET), Unavailable),
    ],
)
def test_each_becomes_ours_and_quotes_nothing(error: Exception, becomes: type[KalendsError]) -> None:
    """An outage says when to come again; what was sent is in no detail."""
    ours = failures.translate(error)

    assert isinstance(ours, becomes)
    assert ours.dependency == failures.DEPENDENCY
    assert SECRET not in str(ours)
    assert (ours.retry_after is not None) == isinstance(ours, Unavailable | DeadlineExceeded)


def test_the_servers_name_of_an_error_is_kept() -> None:
    """It is a word of OpenSearch's own, and the only thing that helps whoever reads the log."""
    assert "index_not_found_exception" in str(failures.translate(foreign.NotFoundError(404, "index_not_found_exception", {})))


def test_credentials_and_certificates_are_told_apart_from_outages() -> None:
    """The doctor says so; a writer only waits."""
    certificate = ssl.SSLCertVerificationError("no")
    wrapped = OSError("cannot connect")
    wrapped.__cause__ = certificate

    assert failures.is_our_fault(foreign.AuthenticationException(401, ""))
    assert failures.is_our_fault(foreign.ConnectionError("N/A", "", wrapped))
    assert not failures.is_our_fault(foreign.ConnectionError("N/A", "", OSError()))
    assert not failures.is_our_fault(opensearchpy.exceptions.TransportError(503, ""))
    assert not failures.is_our_fault(ValueError())
