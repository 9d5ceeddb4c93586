"""Stalls: for how long a call that should take no time has been going on.

Belongs here: making the call now and then, and its age. Does not belong here: what is called, or what follows from a long one. A newcomer
would get wrong: the call is made in a thread that nobody waits for, because one that hangs in the system may hang for ever.
"""

import contextlib
import threading
import time
from collections.abc import Callable


class Stall:
    """How long *call* hangs. It is made when somebody asks, once at a time, and no sooner than *every_s* after the last one ended."""

    def __init__(self, call: Callable[[], object], *, every_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._ended: float | None = None

    def seconds(self) -> float:
        """For how long the call that is under way has been; 0 while none is. Never waits for it, so the first to ask is told 0."""
        with self._lock:
            now = self._clock()
            if self._begun is not None:
                return now - self._begun
            if self._ended is not None and now - self._ended < self._every_s:
                return 0.0
            self._begun = now
        threading.Thread(target=self._try, name="stall", daemon=True).start()
        return 0.0

    def _try(self) -> None:
        # that it fails is not what is asked here: whoever does the real work is told
        with contextlib.suppress(OSError):
            self._call()
        with self._lock:
            self._begun, self._ended = None, self._clock()
