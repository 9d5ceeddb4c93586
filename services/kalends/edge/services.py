"""What a service is: a value built from settings and ports, which starts nothing.

Belongs here: the value and the kinds of its parts. Does not belong here: how it is hosted (``app/host``). A newcomer would get wrong: a
loop runs until it is cancelled and must be safe to start again; a probe answers at once from what is already known.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from kalends.edge.long_work import LongWork
from kalends.edge.operations import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Work that goes on beside requests; ``run`` returns only when it is cancelled."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One dependency as a service sees it: ``state`` is ``up``, ``degraded`` or ``down``; ``since`` an RFC 3339 time."""

    name: str
    state: str
    since: str
    detail: str = ""
    next_step: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Operations it answers, loops it needs, how its dependencies are, and what it does for long."""

    name: str
    operations: Sequence[Operation] = ()
    loops: Sequence[Loop] = ()
    health: Callable[[], Sequence[Health]] = tuple
    long_work: Sequence[LongWork] = ()
