"""Canary questions, as values, requests and the two objects that send them.

Belongs here: what is sent and answered about them. Does not belong here: asking them, which the scheduler has done (``run_job`` of the
client: ``canary-questions``). A newcomer would get wrong: what is expected must be there when a question is set, and what is erased later
is not missed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct

from kalends.client.requests import Request, encoded
from kalends.domain.scope import memory_name

T = TypeVar("T")


class _Sends(Protocol):
    def send(self, request: Request[T]) -> T: ...


class _SendsAsync(Protocol):
    async def send(self, request: Request[T]) -> T: ...


class Canary(Struct, frozen=True, kw_only=True):
    """A question and what became of it: ``state`` is new, found, missed or gone, since ``since``.

    All of ``expect`` must be among the best ``within`` hits; ``gone`` more were expected and are erased. Of a question of which nothing is
    left there are no words.
    """

    canary: str
    state: str
    question: str | None = None
    expect: list[str] = []
    within: int = 10
    gone: int = 0
    since: datetime | None = None
    asked_at: datetime | None = None
    set_by: str = ""
    set_at: datetime | None = None


class CanaryList(Struct, frozen=True, kw_only=True):
    """The questions of a memory, and the share of them that found what they must; None before any was asked."""

    items: list[Canary]
    accuracy: float | None = None


class Removed(Struct, frozen=True, kw_only=True):
    """A question that is no more."""

    canary: str


def list_canaries(memory: str) -> Request[CanaryList]:
    """Every question."""
    return Request(method="GET", path=_every(memory), result=CanaryList)


def get(memory: str, name: str) -> Request[Canary]:
    """One question."""
    return Request(method="GET", path=_one(memory, name), result=Canary)


def put(memory: str, name: str, question: str, *, expect: Sequence[str], within: int) -> Request[Canary]:
    """Set one question."""
    body = encoded({"question": question, "expect": list(expect), "within": within})
    return Request(method="PUT", path=_one(memory, name), body=body, result=Canary)


def remove(memory: str, name: str) -> Request[Removed]:
    """Forget one question."""
    return Request(method="DELETE", path=_one(memory, name), result=Removed)


def _every(memory: str) -> str:
    return f"/memories/{memory_name(memory)}/canaries"


def _one(memory: str, name: str) -> str:
    return f"{_every(memory)}/{quote(name, safe='')}"


class Canaries:
    """The canary questions of one memory."""

    def __init__(self, driver: _Sends, memory: str) -> None:
        self._driver = driver
        self._memory = memory

    def list(self) -> CanaryList:
        """Every question, by name, with what became of it."""
        return self._driver.send(list_canaries(self._memory))

    def show(self, name: str) -> Canary:
        """One question."""
        return self._driver.send(get(self._memory, name))

    def set(self, name: str, question: str, *, expect: Sequence[str], within: int = 10) -> Canary:
        """Set a question and the ids of the events that it must find among the best *within* hits; the same again changes nothing."""
        return self._driver.send(put(self._memory, name, question, expect=expect, within=within))

    def remove(self, name: str) -> None:
        """Forget a question."""
        self._driver.send(remove(self._memory, name))


class AsyncCanaries:
    """The canary questions of one memory."""

    def __init__(self, driver: _SendsAsync, memory: str) -> None:
        self._driver = driver
        self._memory = memory

    async def list(self) -> CanaryList:
        """Every question, by name, with what became of it."""
        return await self._driver.send(list_canaries(self._memory))

    async def show(self, name: str) -> Canary:
        """One question."""
        return await self._driver.send(get(self._memory, name))

    async def set(self, name: str, question: str, *, expect: Sequence[str], within: int = 10) -> Canary:
        """Set a question and the ids of the events that it must find among the best *within* hits; the same again changes nothing."""
        return await self._driver.send(put(self._memory, name, question, expect=expect, within=within))

    async def remove(self, name: str) -> None:
        """Forget a question."""
        await self._driver.send(remove(self._memory, name))
