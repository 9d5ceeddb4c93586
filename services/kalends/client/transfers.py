"""Exports and imports, as requests and the two objects that send them.

Belongs here: asking for pages, sending lines. Does not belong here: the file (``export_files``), or files of other programs (``foreign``).
A newcomer would get wrong: both may be repeated after whatever went wrong; an import that is begun again finds what is there.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct

from kalends.client.errors import Unreadable
from kalends.client.export_files import Composer, ImportReport, LineResult, Loading, Sent, check
from kalends.client.requests import Request, encoded
from kalends.domain.scope import memory_name

T = TypeVar("T")
LINES_OF_A_PAGE = 1000

Watch = Callable[[int, int | None], None]
"""Told how many lines are done, of how many if that is known."""


class _Sends(Protocol):
    def send(self, request: Request[T]) -> T: ...


class _SendsAsync(Protocol):
    async def send(self, request: Request[T]) -> T: ...


class ExportPage(Struct, frozen=True, kw_only=True):
    """Lines of an export, and where it goes on."""

    lines: list[str]
    next_cursor: str | None = None
    complete: bool = True
    unreadable: int = 0


class ImportAnswer(Struct, frozen=True, kw_only=True):
    """What became of each line."""

    results: list[LineResult]
    visibility: str = ""


def export_page(memory: str, *, cursor: str | None) -> Request[ExportPage]:
    """One page of an export."""
    body = encoded({"cursor": cursor, "limit": LINES_OF_A_PAGE})
    return Request(method="POST", path=f"{_path(memory)}/exports", body=body, result=ExportPage)


def import_lines(memory: str, lines: Sequence[str], *, finish: bool, dry_run: bool) -> Request[ImportAnswer]:
    """Lines of an import."""
    body = encoded({"lines": list(lines), "finish": finish, "dry_run": dry_run})
    return Request(method="POST", path=f"{_path(memory)}/imports", body=body, result=ImportAnswer)


def _path(memory: str) -> str:
    return f"/memories/{quote(memory_name(memory), safe='')}"


def _nobody(_done: int, _total: int | None) -> None:
    """Watches nothing."""


class Transfers:
    """Memories as files of lines (docs/reference/export-format.md)."""

    def __init__(self, driver: _Sends) -> None:
        self._driver = driver

    def export(self, memory: str, into: BinaryIO, *, watch: Watch = _nobody) -> Mapping[str, int]:
        """Write *memory*, as it is now, *into* a stream; how many lines of each kind. Needs the right ``admin``.

        What is not whole lacks its last line, and cannot be imported.
        """
        composer, cursor, more = Composer(), None, True
        while more:
            page = self._driver.send(export_page(memory, cursor=cursor))
            into.writelines(composer.take(page.lines, complete=page.complete, unreadable=page.unreadable))
            cursor, more = page.next_cursor, page.next_cursor is not None
            watch(sum(composer.counts().values()), None)
        into.writelines(composer.end())
        return composer.counts()

    def load(self, memory: str, stream: BinaryIO, *, dry_run: bool = False, watch: Watch = _nobody) -> ImportReport:
        """Take the export in *stream*, which is read twice, into *memory*; what is there already stays as it is.

        Raises:
            Malformed: it is no whole export; nothing was sent. ClientError: a request failed for good; the same again goes on.
        """
        total = sum(check(stream).values())
        stream.seek(0)
        loading = Loading(stream)
        for batch in loading.batches():
            answer = self._driver.send(import_lines(memory, [one.text for one in batch], finish=False, dry_run=dry_run))
            _learn(loading, batch, answer)
            watch(batch[-1].number or 0, total)
        self._driver.send(import_lines(memory, [], finish=True, dry_run=dry_run))
        return loading.report


class AsyncTransfers:
    """Memories as files of lines (docs/reference/export-format.md)."""

    def __init__(self, driver: _SendsAsync) -> None:
        self._driver = driver

    async def export(self, memory: str, into: BinaryIO, *, watch: Watch = _nobody) -> Mapping[str, int]:
        """Write *memory*, as it is now, *into* a stream; how many lines of each kind. Needs the right ``admin``.

        What is not whole lacks its last line, and cannot be imported.
        """
        composer, cursor, more = Composer(), None, True
        while more:
            page = await self._driver.send(export_page(memory, cursor=cursor))
            lines = composer.take(page.lines, complete=page.complete, unreadable=page.unreadable)
            await asyncio.to_thread(into.writelines, lines)
            cursor, more = page.next_cursor, page.next_cursor is not None
            watch(sum(composer.counts().values()), None)
        await asyncio.to_thread(into.writelines, composer.end())
        return composer.counts()

    async def load(self, memory: str, stream: BinaryIO, *, dry_run: bool = False, watch: Watch = _nobody) -> ImportReport:
        """Take the export in *stream*, which is read twice, into *memory*; what is there already stays as it is.

        Raises:
            Malformed: it is no whole export; nothing was sent. ClientError: a request failed for good; the same again goes on.
        """
        total = sum((await asyncio.to_thread(check, stream)).values())
        await asyncio.to_thread(stream.seek, 0)
        loading = Loading(stream)
        batches = loading.batches()
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            answer = await self._driver.send(import_lines(memory, [one.text for one in batch], finish=False, dry_run=dry_run))
            _learn(loading, batch, answer)
            watch(batch[-1].number or 0, total)
        await self._driver.send(import_lines(memory, [], finish=True, dry_run=dry_run))
        return loading.report


def _learn(loading: Loading, batch: Sequence[Sent], answer: ImportAnswer) -> None:
    if len(answer.results) != len(batch):
        raise Unreadable(f"{len(answer.results)} results for {len(batch)} lines")
    loading.learn(batch, answer.results, visibility=answer.visibility)
