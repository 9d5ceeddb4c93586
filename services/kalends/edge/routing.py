"""Routing: from the segments of a path to a row.

Belongs here: matching, and nothing else of HTTP. Does not belong here: decoding what was matched. A newcomer would get wrong: segments
are matched as they were sent, before percent-decoding, so that ``%2F`` in an id stays inside its segment.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from kalends.domain.errors import Misconfigured

T = TypeVar("T")


class Router(Generic[T]):
    """A tree of segments; a literal segment wins over a parameter."""

    def __init__(self, templates: Mapping[str, T]) -> None:
        """Build from templates like ``/memories/{memory}/events``.

        Raises:
            Misconfigured: two templates match the same paths.
        """
        self._root: _Node[T] = _Node()
        for template, target in templates.items():
            node = self._root
            names = []
            for segment in template.strip("/").split("/"):
                if segment.startswith("{"):
                    names.append(segment[1:-1])
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.literals.setdefault(segment, _Node())
            if node.found is not None:
                raise Misconfigured(f"the path {template} is in the table twice, with other names for its parameters")
            node.found = (target, tuple(names))

    def find(self, path: str) -> tuple[T, dict[str, str]] | None:
        """What *path* leads to, and its parameters, undecoded; None if nothing. Empty segments match nothing."""
        segments = path.split("/")[1:]
        values: list[str] = []
        found = self._root.walk(segments, 0, values)
        if found is None:
            return None
        target, names = found
        return target, dict(zip(names, values, strict=True))


class _Node(Generic[T]):
    __slots__ = ("found", "literals", "parameter")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.found: tuple[T, tuple[str, ...]] | None = None

    def walk(self, segments: Sequence[str], at: int, values: list[str]) -> tuple[T, tuple[str, ...]] | None:
        if at == len(segments):
            return self.found
        segment = segments[at]
        literal = self.literals.get(segment)
        if literal is not None:
            found = literal.walk(segments, at + 1, values)
            if found is not None:
                return found
        if self.parameter is None or not segment:
            return None
        values.append(segment)
        found = self.parameter.walk(segments, at + 1, values)
        if found is None:
            values.pop()
        return found
