"""Models: texts to vectors, and passages to how well they answer.

The identity names model, precision and dimension; vectors of different identities never mix. A newcomer would get wrong: a model that is
served elsewhere may give no token vectors; ``tokens`` then has no rows, and whoever needs them does without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kalends.ports.vectors import Array, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An encoded question.

    ``dense`` (dimension,) has unit length, ``tokens`` (m, dimension) unit rows, the model's own marks included; ``spans`` holds for each
    row of ``tokens`` its characters in the text, (0, 0) for a mark. A model without token vectors gives no rows and no spans.
    """

    dense: Array
    tokens: Array
    spans: Sequence[tuple[int, int]]


class Embedder(Protocol):
    """A sentence encoder that also gives token vectors, where it can."""

    @property
    def identity(self) -> str:
        """Model, precision and dimension in one token ``[a-z0-9-]+``; part of a vector projection's name."""
        ...

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text, in order; background priority."""
        ...

    async def embed_query(self, text: str) -> Question:
        """A question, cut at the model's limit; foreground priority."""
        ...


class Reranker(Protocol):
    """A model that reads a question and a passage together."""

    @property
    def identity(self) -> str:
        """The model's name."""
        ...

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """How well each of *passages* answers *question*, in their order; larger is better, comparable within one call only.

        Passages longer than the model reads are cut.

        Raises:
            Unavailable, DeadlineExceeded: the model cannot be had now.
        """
        ...


class Tokenizer(Protocol):
    """Counts tokens as the embedded model does; needs no model to be loaded."""

    def count(self, text: str) -> int:
        """Tokens of *text*, without the model's own marks. Adding counts of parts never gives less than the count of the whole."""
        ...
