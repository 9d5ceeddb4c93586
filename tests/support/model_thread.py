"""The small model server in a thread of its own, for tests that are no coroutines and for processes that ask it.

Belongs here: its loop and its thread. Does not belong here: answers (``model_server``). A newcomer would get wrong: its vectors come from
words alone and cost next to nothing, so that a test of many processes on few cores measures these and not a model.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Self

from tests.support.model_server import ModelServer

_THREAD_S = 20.0
MODEL = "words"
DIMENSION = 32


class ModelThread:
    """A server of the model *MODEL*, which embeds texts and tokens; a context manager."""

    def __init__(self) -> None:
        self.server = ModelServer(model=MODEL, dimension=DIMENSION, max_model_len=512, by_token=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self.server.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_THREAD_S)
        self._loop.close()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_THREAD_S)
