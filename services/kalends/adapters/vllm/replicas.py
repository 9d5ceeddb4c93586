"""Replicas: the servers that serve one model, and which of them is asked next.

Belongs here: the choice. Does not belong here: HTTP. A newcomer would get wrong: a replica that is left out is still asked when there is no
other, because a server that came back is worth more than an error at once; the breaker is there for the rest.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Replica:
    """One server by the root of its API; how many calls it has now, and until when it is left out."""

    __slots__ = ("in_flight", "out_until", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.in_flight = 0
        self.out_until = float("-inf")


class Replicas:
    """The one with the fewest calls goes next, in turns among equals; *now* is a clock in seconds."""

    def __init__(self, roots: Sequence[str], *, out_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._turns = [Replica(root) for root in roots]
        self._out_s = out_s
        self._now = now

    def __len__(self) -> int:
        return len(self._turns)

    def choose(self, *, but: Replica | None = None) -> Replica:
        """The next to ask; *but*: another than this one, if there is one."""
        others = [one for one in self._turns if one is not but] or self._turns
        now = self._now()
        present = [one for one in others if one.out_until <= now]
        chosen = min(present, key=lambda one: one.in_flight) if present else min(others, key=lambda one: one.out_until)
        # to the end of the line, so that equals take turns
        self._turns.remove(chosen)
        self._turns.append(chosen)
        return chosen

    def has_other_than(self, replica: Replica) -> bool:
        """Whether there is another that is not left out."""
        now = self._now()
        return any(one is not replica and one.out_until <= now for one in self._turns)

    @contextmanager
    def asking(self, replica: Replica) -> Iterator[None]:
        """Count a call of *replica* for as long as the block runs."""
        replica.in_flight += 1
        try:
            yield
        finally:
            replica.in_flight -= 1

    def leave_out(self, replica: Replica) -> None:
        """Ask others for a while."""
        replica.out_until = self._now() + self._out_s
