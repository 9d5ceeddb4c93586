"""A trial of a running instance from the outside: what it remembers is found, forgotten and kept from others.

Belongs here: the steps, over the SDK. Does not belong here: what is printed of them (``commands.selftest``). A newcomer would get
wrong: roles apart learn of a new token by the log, so for a moment another process may refuse it; only that is tried again.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from kalends.client import Kalends, NewEvent
from kalends.client.errors import NotFound, Unauthenticated
from kalends.domain.errors import KalendsError

T = TypeVar("T")
_KNOWN_WITHIN_S = 10.0
_PAUSE_S = 0.2
_FOUND_WITHIN_MS = 20_000

Connect = Callable[[str | None], Kalends]
"""A client with a token, or with the admin's for None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that must hold, and what was seen instead where it does not."""

    name: str
    good: bool
    detail: str = ""


def steps(connect: Connect) -> Iterator[Step]:
    """Try an instance, step by step; after one that is not good there are no more. What was made is taken away at the end.

    Raises:
        KalendsError: the instance cannot be asked, or does not let an admin in.
    """
    mark = secrets.token_hex(6)
    with connect(None) as admin, contextlib.ExitStack() as made:
        ours, theirs = f"selftest-{mark}", f"selftest-{mark}-other"
        writer = made.enter_context(_guest(admin, connect, ours, role="curator"))
        stranger = made.enter_context(_guest(admin, connect, theirs, role="reader"))
        yield Step(name="two memories, and a token for each", good=True)
        for step in (_remembered, _kept_from_others, _forgotten):
            found = step(writer, stranger, ours, f"heron{mark}")
            yield found
            if not found.good:
                return


def _remembered(writer: Kalends, _: Kalends, memory: str, word: str) -> Step:
    event = NewEvent(text=f"The {word} returns in spring.", session_id="selftest")
    receipt = _known(lambda: writer.memory(memory).append([event]))
    hits = _ids(writer, memory, word, visibility=receipt.visibility)
    good = bool(hits & {*receipt.event_ids})
    return Step(name="what was written is found, by the visibility of the write", good=good, detail="" if good else f"{len(hits)} hits")


def _kept_from_others(_: Kalends, stranger: Kalends, memory: str, word: str) -> Step:
    name = "another's token finds no such memory"
    try:
        found = _known(lambda: stranger.memory(memory).search(word, timeout_ms=_FOUND_WITHIN_MS))
    except NotFound:
        return Step(name=name, good=True)
    return Step(name=name, good=False, detail=f"it was answered, with {len(found.hits)} hits")


def _forgotten(writer: Kalends, _: Kalends, memory: str, word: str) -> Step:
    name = "what was forgotten is absent"
    erasure = writer.memory(memory).forget(session_id="selftest")
    deadline = time.monotonic() + _KNOWN_WITHIN_S
    while _ids(writer, memory, word):
        if time.monotonic() > deadline:
            return Step(name=name, good=False, detail=f"erasure {erasure.erasure_id} is {erasure.state}, and it is found")
        time.sleep(_PAUSE_S)
    return Step(name=name, good=True)


def _ids(client: Kalends, memory: str, word: str, *, visibility: str | None = None) -> set[str]:
    asked = client.memory(memory)
    if visibility is None:
        answer = _known(lambda: asked.search(word, timeout_ms=_FOUND_WITHIN_MS))
    else:
        answer = _known(lambda: asked.search(word, min_visibility=visibility, timeout_ms=_FOUND_WITHIN_MS))
    return {hit.id for hit in answer.hits if word in hit.text}


@contextlib.contextmanager
def _guest(admin: Kalends, connect: Connect, memory: str, *, role: str) -> Iterator[Kalends]:
    """A client with a token for *memory* alone; both are taken away at the end."""
    admin.create_memory(memory, description="made by kalends selftest")
    token = admin.create_token(memories=[memory], role=role, label="kalends selftest")
    try:
        with connect(token.secret) as client:
            yield client
    finally:
        admin.revoke_token(token.token_id)
        admin.memory(memory).forget_all()


def _known(ask: Callable[[], T]) -> T:
    """The answer, once the token is known everywhere.

    Raises:
        KalendsError: it is refused for too long, or anything else than the token is wrong.
    """
    deadline = time.monotonic() + _KNOWN_WITHIN_S
    refused: KalendsError
    while True:
        try:
            return ask()
        except Unauthenticated as error:
            refused = error
        if time.monotonic() > deadline:
            raise refused
        time.sleep(_PAUSE_S)
