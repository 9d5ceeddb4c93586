"""Counting tokens as the embedded model does, without the model.

Belongs here: the count. Does not belong here: windows (``models``). A newcomer would get wrong: the tokenizer's file comes with truncation
switched on, under which every long text has 256 tokens.
"""

from pathlib import Path
from typing import Any

from kalends.adapters.embedded import models


class MiniLmTokenizer:
    """See ``ports.models.Tokenizer``; opened at the first count, because that takes a tenth of a second."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._opened: Any = None

    def count(self, text: str) -> int:
        """Tokens of *text* without the model's marks.

        Raises:
            Misconfigured: the tokenizer is not installed. Damaged: it is not the published one.
        """
        if self._opened is None:
            tokenizer = models.open_tokenizer((self._folder or models.model_folder()) / "tokenizer.json")
            tokenizer.no_truncation()
            self._opened = tokenizer
        return len(self._opened.encode(text, add_special_tokens=False).ids)
