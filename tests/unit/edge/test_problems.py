"""Problems: every error has a status, and no answer or log line holds what nobody named."""

import ast
from pathlib import Path

import msgspec
import pytest
import structlog
from tests.support.edge import error_types, raised

from kalends.domain import errors
from kalends.edge import problems

MARKER = "the-secret-words-of-a-user"


def test_every_error_type_is_in_the_table():
    """A new error type without a status would reach callers as a 500."""
    assert set(error_types()) <= set(problems.STATUSES)


def test_statuses_agree_with_the_tree_in_the_docstring_of_errors():
    """The table that people read and the one that runs are the same."""
    documented = {}
    for line in (ast.get_docstring(ast.parse(Path(errors.__file__).read_text())) or "").splitlines():
        name, _, rest = line.strip("├└─│ ").partition(" ")
        if rest.strip().endswith(")") and rest.strip()[-4:-1].isdigit():
            documented[getattr(errors, name)] = int(rest.strip()[-4:-1])
    assert len(documented) >= 12
    assert documented == {kind: problems.STATUSES[kind] for kind in documented}


def test_a_named_error_keeps_its_detail_and_faults():
    """Callers are told where their input is wrong."""
    error = errors.Invalid("bad", faults=[errors.Fault(pointer="/events/0/text", detail="must not be empty", code="empty")])
    told = problems.problem_of(error, request_id="r1")
    assert (told.status, told.code, told.type, told.request_id) == (422, "invalid", "urn:kalends:problem:invalid", "r1")
    assert told.errors == (problems.ProblemFault(pointer="/events/0/text", detail="must not be empty", code="empty"),)


def test_absent_members_are_left_out_of_the_body():
    """A problem without faults has no empty list of them."""
    body = msgspec.json.decode(problems.encode(problems.problem_of(errors.NotFound("no such event"), request_id="r1")))
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}


def test_an_unknown_error_tells_and_logs_no_message():
    """Its message may quote what a user told an agent."""
    with structlog.testing.capture_logs() as lines:
        told = problems.problem_of(raised(ValueError(MARKER)), request_id="r1")
    assert told.status == 500
    assert MARKER not in repr(told)
    assert MARKER not in repr(lines)
    assert lines[0]["error_type"] == "ValueError"
    assert "edge.py" in lines[0]["places"][0]


def test_a_group_of_named_errors_is_told_as_its_first():
    """A handler that works in a task group raises groups."""
    group = ExceptionGroup("", [errors.NotFound("a"), ExceptionGroup("", [errors.Conflict("b")])])
    assert problems.problem_of(group, request_id="r").status == 404


def test_a_group_with_an_unknown_error_is_internal():
    """One member without a name is enough not to know what happened."""
    with structlog.testing.capture_logs() as lines:
        told = problems.problem_of(ExceptionGroup("", [errors.NotFound("a"), ValueError(MARKER)]), request_id="r")
    assert told.status == 500
    assert MARKER not in repr(lines)


@pytest.mark.parametrize("kind", [errors.Damaged, errors.Misconfigured, errors.KalendsError])
def test_the_detail_of_a_500_stays_inside(kind):
    """What is wrong inside is the operator's to know."""
    with structlog.testing.capture_logs():
        assert "inner" not in repr(problems.problem_of(kind("inner detail"), request_id="r"))


def test_a_subclass_made_elsewhere_has_its_parents_status():
    """An adapter may refine an error without a row of its own."""

    class Refined(errors.Unavailable):
        pass

    try:
        assert problems.problem_of(Refined("x"), request_id="r").status == 503
    finally:
        del Refined
