"""Queries: PromQL in which every series of ours has a place for the scope that it is asked in.

Belongs here: checking queries against the catalogue of metrics, and giving them a scope. Does not belong here: what is asked. A newcomer
would get wrong: a series of ours is always written with ``{@…}``; the ``@`` becomes the namespace of a release, the choice of a dashboard,
or nothing, and a series without it would mix installations.
"""

import re
from functools import cache

from kalends.edge.metrics import LABELS, new_metrics

_SERIES = re.compile(r"\b(kalends_[a-z_]+)(?:\{(?P<inside>[^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_ADDED = frozenset({"le", "job", "instance", "pod", "namespace", "container"})
"""Labels that buckets have, and that whoever scrapes adds."""


@cache
def _catalogue() -> dict[str, frozenset[str]]:
    return dict(new_metrics(version="").catalogue)


def series_of(query: str) -> frozenset[str]:
    """The series of ours that *query* names."""
    return frozenset(found[1] for found in _SERIES.finditer(query))


def check(query: str) -> None:
    """See that *query* names nothing that is not measured.

    Raises:
        ValueError: a series or a label does not exist, or a series has no place for a scope; says which.
    """
    for found in _SERIES.finditer(query):
        labels = _catalogue().get(found[1])
        if labels is None:
            raise ValueError(f"there is no series {found[1]}: {query}")
        inside = found["inside"]
        if inside is None or not inside.startswith("@"):
            raise ValueError(f"{found[1]} has no place for a scope: {query}")
        unknown = set(_MATCHER.findall(inside)) - labels - _ADDED
        if unknown:
            raise ValueError(f"{found[1]} has no label {', '.join(sorted(unknown))}: {query}")
    for grouped in _GROUPED.findall(query):
        unknown = {one.strip() for one in grouped.split(",") if one.strip()} - LABELS - _ADDED
        if unknown:
            raise ValueError(f"nothing has a label {', '.join(sorted(unknown))}: {query}")


def scoped(query: str, scope: str) -> str:
    """*query* with *scope* (matchers such as ``namespace="a"``, or nothing) in every selector that has a place for it."""
    if not scope:
        return query.replace("{@}", "").replace("{@,", "{")
    return query.replace("{@", "{" + scope)
