"""Models: texts to vectors. The identity names model, precision and dimension; vectors of different identities never mix."""

from collections.abc import Sequence
from typing import Protocol

from kalends.ports.vectors import Window


class Embedder(Protocol):
    """A sentence encoder that also gives token vectors."""

    @property
    def identity(self) -> str:
        """Model, precision and dimension in one token ``[a-z0-9-]+``; part of a vector projection's name."""
        ...

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text, in order; background priority."""
        ...

    async def embed_query(self, text: str) -> Window:
        """A question as one window (cut at the model's limit); foreground priority."""
        ...
