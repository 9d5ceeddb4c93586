"""The engines that the suite of the port ``lexicon`` runs over.

Belongs here: opening one engine's indexes, and opening them again as after a restart. Does not belong here: a test. A newcomer would get
wrong: an adapter joins the suite by one line in ``ENGINES``; what needs a server carries the mark ``cluster``.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from tests.support.opensearch.stores import fresh_settings, made

from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.opensearch import OpenSearchLexicon, open_generations
from kalends.ports.lexicon import LexicalIndex
from kalends.settings import OpensearchSettings


class Engine(Protocol):
    """One kind of lexicon, in a place of the test's own."""

    writer: str
    """What ``projections.killed_writer`` calls it."""

    async def open(self, name: str = "lexicon") -> LexicalIndex:
        """The index *name*; one that is open already is opened anew, as after a restart."""
        ...

    def writers_folder(self) -> Path:
        """What tells a process of its own which index is ``lexicon``."""
        ...


class _Embedded:
    writer = "lexicon"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, TantivyLexicon] = {}

    async def open(self, name: str = "lexicon") -> LexicalIndex:
        if name in self._opened:
            await self._opened.pop(name).close()
        self._opened[name] = await TantivyLexicon.open(self._folder / name)
        return self._opened[name]

    def writers_folder(self) -> Path:
        return self._folder / "lexicon"

    async def close(self) -> None:
        for index in self._opened.values():
            await index.close()


class _OpenSearch:
    writer = "opensearch"

    def __init__(self, folder: Path, settings: OpensearchSettings, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._settings = settings
        self._stack = stack

    async def open(self, name: str = "lexicon") -> LexicalIndex:
        settings = msgspec.structs.replace(self._settings, prefix=f"{self._settings.prefix}-{name}")
        return await self._served(settings)

    async def _served(self, settings: OpensearchSettings) -> OpenSearchLexicon:
        store = await self._stack.enter_async_context(open_generations(settings))
        return (await made(store)).serving

    def writers_folder(self) -> Path:
        known = {"urls": self._settings.urls, "prefix": f"{self._settings.prefix}-lexicon"}
        (self._folder / "opensearch.json").write_text(json.dumps(known), encoding="utf-8")
        return self._folder


@asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[Engine]:
    engine = _Embedded(folder)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _opensearch(folder: Path) -> AsyncIterator[Engine]:
    async with fresh_settings() as settings, AsyncExitStack() as stack:
        yield _OpenSearch(folder, settings, stack)


ENGINES: dict[str, Callable[[Path], AbstractAsyncContextManager[Engine]]] = {"embedded": _embedded, "opensearch": _opensearch}
PARAMETERS = [pytest.param("embedded"), pytest.param("opensearch", marks=pytest.mark.cluster)]
