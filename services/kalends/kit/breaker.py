"""A circuit breaker: after some failures in a row calls fail at once, until one that is let through as a probe succeeds.

Belongs here: counting and the pause. Does not belong here: what a failure is; the caller says so. A newcomer would get wrong: a call whose
caller went away proves nothing, so it neither opens nor closes the circuit, but it has to hand back the probe's place.
"""

import time
from collections.abc import Callable


class CircuitOpen(Exception):
    """No call may go now; ``wait_s`` is when the next may."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"open for {wait_s:.1f} s")
        self.wait_s = wait_s


class Trial:
    """A call that was let through; exactly one of its methods is to be called at its end."""

    def __init__(self, breaker: "Breaker", *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe

    def succeeded(self) -> None:
        """The circuit is closed."""
        self._breaker._close()  # noqa: SLF001 - one value in two classes

    def failed(self) -> None:
        """One more failure in a row; a probe that fails opens the circuit for another pause."""
        self._breaker._fail(probe=self._probe)  # noqa: SLF001 - one value in two classes

    def abandoned(self) -> None:
        """Nothing is known."""
        if self._probe:
            self._breaker._probing = False  # noqa: SLF001 - one value in two classes


class Breaker:
    """Opens for *pause_s* seconds after *failures* in a row; *now* is a clock in seconds."""

    def __init__(self, *, failures: int, pause_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._pause_s = pause_s
        self._now = now
        self._in_a_row = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def wait_s(self) -> float:
        """Seconds until a call may go; 0 if one may go now."""
        if self._open_until is None:
            return 0.0
        left = self._open_until - self._now()
        if left > 0:
            return left
        return self._pause_s if self._probing else 0.0

    def begin(self) -> Trial:
        """Let a call through; while the circuit is open, one after each pause.

        Raises:
            CircuitOpen: not now.
        """
        wait_s = self.wait_s
        if wait_s > 0:
            raise CircuitOpen(wait_s)
        self._probing = probe = self._open_until is not None
        return Trial(self, probe=probe)

    def _close(self) -> None:
        self._in_a_row = 0
        self._open_until = None
        self._probing = False

    def _fail(self, *, probe: bool) -> None:
        self._in_a_row += 1
        if probe:
            self._probing = False
        if self._in_a_row >= self._limit:
            self._open_until = self._now() + self._pause_s
