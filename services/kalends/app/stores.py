"""Servers that fill ports: OpenSearch, Qdrant and vLLM, where the settings name them.

Belongs here: opening each, closed with the stack that is given. Does not belong here: embedded engines (``engines``). A newcomer would get
wrong: nothing is asked of a server here, so that one that is away stops nothing; its index is made by whoever feeds it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from kalends.adapters.embedded.models import identity_of
from kalends.ports.generations import GenerationStore
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.models import Embedder
from kalends.ports.records import Records
from kalends.ports.vectors import VectorIndex
from kalends.settings import Settings
from kalends.wire.generations import CurrentGeneration, SharedGenerations
from kalends.wire.model_probes import ModelProbes

if TYPE_CHECKING:
    from kalends.app.engines import ServedEmbedder, ServedReranker

IndexT = TypeVar("IndexT")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStore(Generic[IndexT]):
    """A projection's generations on a server; ``ask`` raises what the server's absence is."""

    generations: SharedGenerations[IndexT]
    ask: Callable[[], Awaitable[object]]


def vector_projection(identity: str) -> str:
    """The name under which the serving generation of vectors of the model *identity* is kept."""
    return f"vector-{identity}"


def embedder_identity(settings: Settings) -> str:
    """The model that the settings name, also for a process that does not open it."""
    if settings.embedder.urls:
        from kalends.adapters.vllm.embedder import identity_of as identity_of_served

        return identity_of_served(settings.embedder)
    return identity_of(settings.model.precision)


def _shared(store: GenerationStore[IndexT], records: Records, *, projection: str, dependency: str) -> tuple[SharedStore[IndexT], IndexT]:
    generations = SharedGenerations(store, CurrentGeneration(records, projection=projection), dependency=dependency)

    return SharedStore(generations=generations, ask=generations.look), store.serving


async def open_lexical(
    stack: AsyncExitStack, settings: Settings, records: Records, *, dedicated: Callable[[str], bool]
) -> tuple[SharedStore[LexicalIndex], LexicalIndex]:
    """BM25 on OpenSearch.

    Raises:
        Misconfigured: the settings cannot be used.
    """
    from kalends.adapters.opensearch.generations import open_generations

    store: GenerationStore[LexicalIndex] = await stack.enter_async_context(open_generations(settings.opensearch, dedicated=dedicated))
    return _shared(store, records, projection="lexical", dependency="lexical")


async def open_vector(
    stack: AsyncExitStack, settings: Settings, records: Records, embedder: Embedder, *, dedicated: Callable[[str], bool]
) -> tuple[SharedStore[VectorIndex], VectorIndex]:
    """Vectors on Qdrant, of the model *embedder*.

    Raises:
        Misconfigured: the settings cannot be used.
    """
    from kalends.adapters.qdrant.generations import open_generations

    opened = open_generations(settings.qdrant, identity=embedder.identity, dimension=embedder.dimension, dedicated=dedicated)
    store: GenerationStore[VectorIndex] = await stack.enter_async_context(opened)
    return _shared(store, records, projection=vector_projection(embedder.identity), dependency="vector")


async def open_embedder(settings: Settings, records: Records) -> "ServedEmbedder":
    """The embedding model on vLLM; *records* remember what it was when it was first met.

    Raises:
        Misconfigured: the settings cannot be used.
    """
    from kalends.adapters.vllm.embedder import open_embedder as opened

    return opened(settings.embedder, first=ModelProbes(records).first)


async def open_reranker(stack: AsyncExitStack, settings: Settings) -> "ServedReranker | None":
    """The cross-encoder on vLLM; None where none is named.

    Raises:
        Misconfigured: the settings cannot be used.
    """
    if not settings.reranker.urls:
        return None
    from kalends.adapters.vllm.reranker import open_reranker as opened

    reranker = opened(settings.reranker)
    stack.push_async_callback(reranker.close)
    return reranker
