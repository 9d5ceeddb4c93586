"""Failpoints: named places where a test can make the process die, fail or stop, to prove that nothing is lost there.

They are inert unless the environment variable ``KALENDS_FAILPOINTS`` names them: ``name=action[@n]``, separated by commas, where the action
is ``kill`` (SIGKILL to this process), ``error`` (raise ``FailpointError``) or ``stall`` (wait for ever) and ``n`` the hit at which it acts
(default 1). A newcomer would get wrong: a failpoint acts once.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass


class FailpointError(RuntimeError):
    """A failpoint asked for a failure."""


@dataclass(slots=True)
class _Armed:
    action: str
    hits_left: int


_ACTIONS = ("kill", "error", "stall")


def parse(text: str) -> dict[str, _Armed]:
    """The failpoints that *text* arms.

    Raises:
        ValueError: it is not of the form above.
    """
    armed = {}
    for part in filter(None, text.split(",")):
        name, _, action = part.partition("=")
        action, _, hits = action.partition("@")
        if action not in _ACTIONS or not name:
            raise ValueError(f"failpoint {part!r} is not name=action[@n]")
        armed[name] = _Armed(action, int(hits or 1))
    return armed


_armed = parse(os.environ.get("KALENDS_FAILPOINTS", ""))


def arm(points: Mapping[str, str]) -> None:
    """Arm *points* (name to action[@n]) in this process; an empty mapping disarms all."""
    _armed.clear()
    _armed.update(parse(",".join(f"{name}={action}" for name, action in points.items())))


async def reach(name: str) -> None:
    """Be at the place *name*.

    Raises:
        FailpointError: the failpoint is armed with ``error``.
    """
    point = _armed.get(name) if _armed else None
    if point is None:
        return
    point.hits_left -= 1
    if point.hits_left > 0:
        return
    del _armed[name]
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.action == "stall":
        await asyncio.Event().wait()
    raise FailpointError(name)
