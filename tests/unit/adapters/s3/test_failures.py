"""Errors of the client of buckets become ours."""

import inspect
import warnings

import pytest
from obstore import exceptions

from kalends.adapters.s3.failures import BUCKET_ERRORS, translate
from kalends.domain.errors import Conflict, NotFound, Unavailable


def defined() -> list[type[Exception]]:
    """Every error that the client has."""
    with warnings.catch_warnings(action="ignore"):
        found = [getattr(exceptions, name) for name in dir(exceptions) if not name.startswith("_")]
    return [one for one in found if inspect.isclass(one) and issubclass(one, Exception)]


def test_every_error_of_the_client_has_one_of_ours():
    """Also one that a later version adds below the others."""
    assert len(defined()) > 5
    assert [kind.__name__ for kind in defined() if not issubclass(kind, tuple(BUCKET_ERRORS))] == []


@pytest.mark.parametrize(
    ("error", "writing", "kind", "told"),
    [
        (exceptions.AlreadyExistsError("secret"), True, Conflict, "a/b is in the archive already"),
        (exceptions.PreconditionError("secret"), True, Conflict, "a/b is in the archive already"),
        (FileNotFoundError("secret"), False, NotFound, "the archive has no a/b"),
        (FileNotFoundError("secret"), True, Unavailable, "there is no bucket box"),
        (exceptions.PermissionDeniedError("secret"), False, Unavailable, "the bucket box refuses our key"),
        (exceptions.UnauthenticatedError("secret"), False, Unavailable, "the bucket box refuses our key"),
        (exceptions.GenericError("secret"), False, Unavailable, "the bucket box cannot be used: GenericError"),
    ],
)
def test_nothing_that_the_server_said_is_told(error, writing, kind, told):
    """Only which object or bucket, and what kind of error it was."""
    found = translate(error, bucket="box", name="a/b", writing=writing)

    assert (type(found), found.detail) == (kind, told)
