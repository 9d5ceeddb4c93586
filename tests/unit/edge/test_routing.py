"""Routing: the tree of segments."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.edge.routing import Router

ROUTER = Router({"/a": 1, "/a/{x}": 2, "/a/{x}/b": 3, "/a/fixed/c": 4, "/a/{x}/{y}": 5})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", (1, {})),
        ("/a/1", (2, {"x": "1"})),
        ("/a/1/b", (3, {"x": "1"})),
        ("/a/fixed", (2, {"x": "fixed"})),
        ("/a/fixed/c", (4, {})),
        ("/a/fixed/b", (3, {"x": "fixed"})),
        ("/a/1/2", (5, {"x": "1", "y": "2"})),
        ("/a/x%2Fy", (2, {"x": "x%2Fy"})),
        ("/a/", None),
        ("/a//b", None),
        ("/", None),
        ("", None),
        ("/b", None),
        ("/a/1/b/c", None),
    ],
)
def test_paths_lead_to_the_most_literal_row(path, found):
    """A literal wins, but a dead end behind it does not hide the parameter."""
    assert ROUTER.find(path) == found


def test_two_rows_for_the_same_paths_are_refused():
    """Which of them answered would depend on their order."""
    with pytest.raises(Misconfigured):
        Router({"/a/{x}": 1, "/a/{y}": 2})
