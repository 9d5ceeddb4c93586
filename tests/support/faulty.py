"""A stand-in that hands every call on to the real thing, and can be told that the real thing is away.

Belongs here: outages and stalls at a port, one method at a time or all at once. Does not belong here: answers of its own. A newcomer would
get wrong: what is not a coroutine function or an async iterator (a property, a plain method) is handed on untouched.
"""

import asyncio
import inspect
from collections import Counter
from typing import Any

from kalends.domain.errors import KalendsError, Unavailable


class Faulty:
    """Delegates to *real*; *dependency* is what an outage names."""

    def __init__(self, real: Any, *, dependency: str) -> None:
        self._real = real
        self._dependency = dependency
        self._away: dict[str, KalendsError] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._passing: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """How often each method was called while it was away."""
        self.waiting: Counter[str] = Counter()
        """How many calls of each method have come to a closed gate."""

    def leave(self, *methods: str, error: KalendsError | None = None) -> None:
        """Be away: *methods*, or all, raise *error* (or Unavailable) from now on."""
        for method in methods or ("*",):
            self._away[method] = error or Unavailable(f"{self._dependency} is away", dependency=self._dependency)

    def come_back(self) -> None:
        """Answer again."""
        self._away.clear()

    def let_pass(self) -> None:
        """Hold no further call; those that wait go on waiting."""
        self._gates.clear()

    def hold(self, method: str, *, after: int = 0) -> asyncio.Event:
        """Let calls of *method*, but the next *after* ones, wait until the event that this returns is set."""
        self._gates[method] = asyncio.Event()
        self._passing[method] = after
        return self._gates[method]

    def __getattr__(self, name: str) -> Any:
        """The real attribute, with the outage before it where it is asynchronous."""
        real = getattr(self._real, name)
        if not inspect.iscoroutinefunction(real):
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            gate = self._gates.get(name)
            if gate is not None and self._passing[name] > 0:
                self._passing[name] -= 1
            elif gate is not None:
                self.waiting[name] += 1
                await gate.wait()
            error = self._away.get(name) or self._away.get("*")
            if error is not None:
                self.refused[name] += 1
                raise error
            return await real(*arguments, **named)

        return call
