"""The archive of the log, as values, requests and the two objects that send them.

Belongs here: what is sent and answered about it. Does not belong here: backups (``backups``), which hold keys and records and can be
restored. A newcomer would get wrong: a check is an operation that is waited for; one that finds a break fails, and its error says where.
"""

from datetime import datetime
from typing import Protocol, TypeVar

from msgspec import Struct

from kalends.client.requests import Request
from kalends.client.results import OperationStarted

T = TypeVar("T")


class _Sends(Protocol):
    def send(self, request: Request[T]) -> T: ...


class _SendsAsync(Protocol):
    async def send(self, request: Request[T]) -> T: ...


class Archive(Struct, frozen=True, kw_only=True):
    """The archive of the log: how many links it has, and what the last check found; not ``enabled`` where there is none."""

    enabled: bool
    links: int = 0
    checked_at: datetime | None = None
    breaks: int = 0
    result: str | None = None


def show() -> Request[Archive]:
    """How it is."""
    return Request(method="GET", path="/admin/archive", result=Archive)


def verify(*, accept_lost: bool = False) -> Request[OperationStarted]:
    """Begin to check it."""
    params = {"accept_lost": "true"} if accept_lost else {}
    return Request(method="POST", path="/admin/archive/verifications", params=params, result=OperationStarted)


class Archives:
    """The archive of the log; ``wait_for`` of the client waits for a check."""

    def __init__(self, driver: _Sends) -> None:
        self._driver = driver

    def show(self) -> Archive:
        """How far it is, and what the last check found."""
        return self._driver.send(show())

    def verify(self, *, accept_lost: bool = False) -> OperationStarted:
        """Begin to check every byte of it, to hold it against the log, and to look through the records.

        With a break the operation fails, and says where. *accept_lost*: take the records as they are, and give up those that are lost.
        """
        return self._driver.send(verify(accept_lost=accept_lost))


class AsyncArchives:
    """The archive of the log; ``wait_for`` of the client waits for a check."""

    def __init__(self, driver: _SendsAsync) -> None:
        self._driver = driver

    async def show(self) -> Archive:
        """How far it is, and what the last check found."""
        return await self._driver.send(show())

    async def verify(self, *, accept_lost: bool = False) -> OperationStarted:
        """Begin to check every byte of it, to hold it against the log, and to look through the records.

        With a break the operation fails, and says where. *accept_lost*: take the records as they are, and give up those that are lost.
        """
        return await self._driver.send(verify(accept_lost=accept_lost))
