"""Counting tokens as the embedded model does, without the model.

Belongs here: the count. Does not belong here: windows (``models``). A newcomer would get wrong: the tokenizer's file comes with truncation
switched on, under which every long text has 256 tokens.
"""

from pathlib import Path
from typing import Any

from kalends.adapters.embedded import models
from kalends.domain.errors import Damaged, Misconfigured, Unavailable

_RETRY_S = 5.0


class MiniLmTokenizer:
    """See ``ports.models.Tokenizer``; opened at the first count, because that takes a tenth of a second."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._opened: Any = None

    def count(self, text: str) -> int:
        """Tokens of *text* without the model's marks.

        Raises:
            Unavailable: the tokenizer is not installed, or is not the published one; it is part of the model, which may come later.
        """
        if self._opened is None:
            try:
                tokenizer = models.open_tokenizer((self._folder or models.model_folder()) / "tokenizer.json")
            except (Misconfigured, Damaged) as error:
                raise Unavailable(error.detail, dependency="model", retry_after=_RETRY_S) from error
            tokenizer.no_truncation()
            self._opened = tokenizer
        return len(self._opened.encode(text, add_special_tokens=False).ids)
