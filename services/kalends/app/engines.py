"""The embedded engines of an instance: opened so that a missing model or a damaged projection degrades it and does not stop it.

Belongs here: opening, healing and health of the engines. Does not belong here: what they do. A newcomer would get wrong: a projection is
disposable; one that is damaged is dropped and built anew from the log, under a new generation whose consumer starts at the beginning.
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from kalends.adapters.embedded import models
from kalends.adapters.embedded.generations import Factory, FolderGenerations, Index, ServingLexicon, ServingVectors
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.app.folders import Folders
from kalends.domain.errors import Damaged, KalendsError, Misconfigured, Unavailable
from kalends.ports.models import Question
from kalends.ports.vectors import Window
from kalends.settings import ModelSettings

log = structlog.get_logger(__name__)

_RETRY_S = 5.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The two search projections and the model."""

    lexical: FolderGenerations[TantivyLexicon]
    vector: FolderGenerations[EdgeVectors]
    lexicon: ServingLexicon[TantivyLexicon]
    vectors: ServingVectors[EdgeVectors]
    embedder: LateEmbedder


@asynccontextmanager
async def open_engines(folders: Folders, settings: ModelSettings) -> AsyncIterator[Engines]:
    """Open everything; a damaged projection is replaced by an empty one, which the log fills again."""
    embedder = LateEmbedder(cache=folders.models, settings=settings)
    identity, dimension = embedder.identity, embedder.dimension

    async def vectors(folder: Path) -> EdgeVectors:
        return await EdgeVectors.open(folder, identity=identity, dimension=dimension)

    await asyncio.to_thread(_drop_other_models, folders.vector, identity)
    lexical = await _open_or_replace(folders.lexical, TantivyLexicon.open, "lexical")
    try:
        vector = await _open_or_replace(folders.vector / identity, vectors, "vector")
    except BaseException:
        await lexical.close()
        raise
    try:
        await embedder.warm()
        yield Engines(lexical=lexical, vector=vector, lexicon=ServingLexicon(lexical), vectors=ServingVectors(vector), embedder=embedder)
    finally:
        await lexical.close()
        await vector.close()
        await embedder.close()


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
