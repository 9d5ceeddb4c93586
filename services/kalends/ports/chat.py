"""Chat models: a question to a text of a wanted shape.

A newcomer would get wrong: the shape is all that a schema can promise; whether what is said is true is for the caller to check
(``domain.claims``), and a server that does not know schemas answers as it likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model answered, the tokens that question and answer cost together, and whether the answer was cut at its longest length."""

    text: str
    tokens: int
    cut: bool = False


class Chat(Protocol):
    """A chat model that is asked one thing at a time and remembers nothing."""

    @property
    def identity(self) -> str:
        """The model's name."""
        ...

    async def complete(self, system: str, user: str, *, schema: Mapping[str, object], max_tokens: int) -> Completion:
        """The answer to *user* under the rules of *system*, as JSON after the JSON *schema*, of at most *max_tokens* tokens.

        As repeatable as the model can be: no randomness is asked for.

        Raises:
            Unavailable: the model cannot be reached, or what answers is no chat model.
            DeadlineExceeded: no answer within the time allowed.
            Invalid: the model refuses the question, because it is too long for it or because of the schema; waiting will not help.
        """
        ...
