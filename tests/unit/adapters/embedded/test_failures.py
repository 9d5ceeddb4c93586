"""Every failure of an engine has a name here."""

import inspect
import sqlite3

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from kalends.adapters.embedded.failures import ENGINE_ERRORS, translate, translated
from kalends.domain.errors import Conflict, Damaged, KalendsError, Misconfigured, Occupied, Unavailable

SQLITE = [kind for _, kind in inspect.getmembers(sqlite3, inspect.isclass) if issubclass(kind, sqlite3.Error)]
ONNX = [kind for _, kind in inspect.getmembers(onnx_errors, inspect.isclass) if issubclass(kind, Exception)]


class PanicException(BaseException):
    """What a panic looks like from Python."""


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        *(("timeline", kind) for kind in SQLITE),
        *((engine, kind) for kind in ONNX for engine in ("model", "model, opening")),
        *((engine, Exception) for engine in ("vector", "vector, opening")),
        *((engine, ValueError) for engine in ("lexical", "lexical, opening")),
        *((engine, OSError) for engine in ENGINE_ERRORS),
        *((engine, PanicException) for engine in ENGINE_ERRORS),
    ],
    ids=str,
)
def test_every_exception_of_an_engine_is_mapped(engine: str, kind: type[BaseException]) -> None:
    """It names the dependency, without the moment at which it failed."""
    error = translate(engine, kind("detail"))

    assert isinstance(error, KalendsError)
    assert error.dependency == engine.partition(",")[0]
    assert "detail" in error.detail


@pytest.mark.parametrize(
    ("engine", "error", "expected"),
    [
        ("vector, opening", Exception("Can't init WAL: Kind(WouldBlock)"), Occupied),
        ("vector, opening", Exception("failed to load segment"), Damaged),
        ("vector, opening", Exception("No space left on device (os error 28)"), Unavailable),
        ("vector", Exception("Service runtime error"), Unavailable),
        ("lexical, opening", ValueError("Failed to acquire Lockfile: LockBusy"), Occupied),
        ("lexical, opening", ValueError("Data corrupted"), Damaged),
        ("lexical, opening", ValueError("Permission denied (os error 13)"), Misconfigured),
        ("lexical", ValueError("An error occurred in a thread"), Unavailable),
        ("timeline", sqlite3.DatabaseError("database disk image is malformed"), Damaged),
        ("timeline", sqlite3.DatabaseError("file is not a database"), Damaged),
        ("timeline", sqlite3.OperationalError("database or disk is full"), Unavailable),
        ("disk", PermissionError(13, "Permission denied"), Misconfigured),
    ],
)
def test_the_text_decides_where_the_type_says_nothing(engine: str, error: Exception, expected: type[KalendsError]) -> None:
    """Waiting helps against a full disk, nothing but a rebuild against damage."""
    assert type(translate(engine, error)) is expected


def test_errors_of_ours_and_mistakes_pass_through() -> None:
    """A mistake in the code must not look like an outage."""
    for engine, error in (("vector", Conflict("ours")), ("vector", KeyError("a mistake")), ("timeline", TypeError("a mistake"))):
        with pytest.raises(type(error)), translated(engine):
            raise error
    assert translate("vector", KeyboardInterrupt()) is None
