"""Calls that are made behind whoever asked for them, one after another, by a thread of their own.

Belongs here: the thread, what waits for it, and what there was no more place for. Does not belong here: what is called. A newcomer would
get wrong: whoever asks never waits and never learns how it went; when the calls hang, what comes is counted and let go, not heaped up.
"""

import queue
import threading
from collections.abc import Callable

Call = Callable[[], object]


class Behind:
    """Makes calls, which do not raise, in the order in which they came; at most *most* wait.

    *lost* is told how many had no place, before the next one is made.
    """

    def __init__(self, *, most: int, lost: Callable[[int], object], name: str) -> None:
        self._most = most
        self._told = lost
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lost = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Call) -> None:
        """Have *call* made, or count it as lost; safe from any thread."""
        if self._waiting.qsize() >= self._most:
            with self._lock:
                self._lost += 1
            return
        self._waiting.put(call)

    def close(self, *, seconds: float) -> None:
        """Return once everything that waits is made, or after so long; what comes later is not."""
        self._waiting.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (call := self._waiting.get()) is not None:
            self._tell()
            call()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            self._told(lost)
