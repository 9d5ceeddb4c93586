"""The client's tree of errors."""

from kalends.client import errors
from kalends.domain import errors as domain
from kalends.edge import problems

INSIDE = {domain.KalendsError, domain.Damaged, domain.Misconfigured, domain.Occupied}
"""Errors whose problems say no more than that the server failed."""


def test_every_problem_of_the_server_has_a_type_here():
    """The edge's table is the list of what can be answered."""
    codes = {kind.code for kind in problems.STATUSES if kind not in INSIDE}

    assert codes == set(errors.BY_CODE)


def test_code_and_status_lead_to_the_same_type():
    """A problem whose body was lost on the way still gets its type."""
    for kind, status in problems.STATUSES.items():
        if kind not in INSIDE:
            assert errors.BY_STATUS[status] is errors.BY_CODE[kind.code]


def test_an_answered_problem_is_also_the_domains_error_of_its_name():
    """Code that knows the domain may catch either."""
    for kind in errors.BY_CODE.values():
        assert issubclass(kind, getattr(domain, kind.__name__))
        assert kind("x", status=400).code == getattr(domain, kind.__name__).code


def test_every_error_stands_in_the_drawing():
    """The module's docstring is what users read."""
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClientError)]

    assert [kind.__name__ for kind in tree if kind.__name__ not in errors.__doc__] == []
