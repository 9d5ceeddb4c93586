"""The operation table: what can be asked, once, for every transport.

Belongs here: the shape of an operation and of a call. Does not belong here: HTTP or NATS (``http``, ``nats``), nor what an operation does
(each service's ``routes``). A newcomer would get wrong: a handler never sees a token or a tenant's name from the outside; it gets a
``Scope`` that the credential gave, or a ``Principal`` where the operation is about no single memory.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kalends.domain.credentials import Principal
from kalends.domain.errors import KalendsError
from kalends.domain.scope import Scope


async def nobody_waits() -> None:
    """How a call lets others pass where none has to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, checked and decoded.

    ``raw`` is the undecoded body of an operation that reads it itself; ``body`` and ``query`` are instances of the operation's types.
    ``deadline`` is in seconds of the running loop's clock. ``give_way`` is awaited between the steps of what takes long.
    """

    principal: Principal
    scope: Scope | None
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes
    headers: Mapping[str, str]
    request_id: str
    deadline: float
    give_way: Callable[[], Awaitable[None]] = nobody_waits

    @property
    def scoped(self) -> Scope:
        """The scope of an operation that is about one memory.

        Raises:
            KalendsError: the operation's table row has no ``{memory}``; a programming error.
        """
        if self.scope is None:
            raise KalendsError("an operation without a memory asked for a scope")
        return self.scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an operation answers: ``body`` is encoded as JSON; ``status`` overrides the operation's.

    ``costs`` are what limits count of it: ``events`` and ``tokens``. ``outcome`` is what the audit says of it.
    """

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)
    outcome: str = "ok"


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table.

    ``path`` is below ``/v1``; with ``{memory}`` in it the call has a scope. ``body``, ``query`` and ``answer`` are msgspec structs or
    None. ``subject`` is the operation's name under ``kalends.v1.<tenant>.<memory>.`` on NATS, None where it is HTTP only; over NATS
    query and path parameters are members of the JSON object beside the body's. ``lenient`` handlers read ``Call.raw`` themselves, so
    that one bad item does not refuse its neighbours. ``statuses`` are other answers, 2xx or 304, that it may give. An ``open`` row wants no
    credential and has no right; its principal is ``credentials.NOBODY``. A row for ``every_label`` goes through everything, whatever its
    labels, and is for credentials that may see all of it.
    """

    name: str
    method: str
    path: str
    right: str
    summary: str
    handle: Handler
    answer: type[msgspec.Struct] | None
    status: int = 200
    statuses: tuple[int, ...] = ()
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    subject: str | None = None
    lenient: bool = False
    open: bool = False
    every_label: bool = False

    @property
    def changes(self) -> bool:
        """Whether a call may change something; what only reads is asked for by GET, or needs no more than the right to search."""
        return self.method != "GET" and self.right not in {"", "search"}
