"""Brokers that outlived their parent: how they are recognised as ours, and ended.

Belongs here: the pid file and what /proc says about it. Does not belong here: starting brokers (``server``). A newcomer would get wrong: a
process id is reused, so nothing is ended on its word alone; the start time and the command line must be the ones noted.
"""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.broker_config import write_private
from kalends.adapters.nats.failures import DEPENDENCY
from kalends.domain.errors import Occupied

_POLL = 0.01


def note(path: Path, *, pid: int) -> None:
    """Write down the broker *pid* and ourselves as its owner."""
    entry = {"pid": pid, "started": _started(pid), "owner": os.getpid(), "owner_started": _started(os.getpid())}
    write_private(path, json.dumps(entry))


async def take_over(path: Path, *, command: str, deadline: float) -> None:
    """End the broker that *path* names if its owner is dead and its command line has *command* in it; the file is then gone.

    Raises:
        Occupied: its owner lives, or it does not end.
    """
    noted = _noted(path)
    if noted is not None and noted.started is not None and _started(noted.pid) == noted.started and command in _command(noted.pid):
        if noted.owner != os.getpid() and _started(noted.owner) == noted.owner_started:
            raise Occupied(f"process {noted.owner} has a broker (process {noted.pid}) on {path.parent}", dependency=DEPENDENCY)
        await _end(noted.pid, started=noted.started, deadline=deadline)
    forget(path)


def forget(path: Path) -> None:
    """Remove the note."""
    path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    pid: int
    started: int | None
    owner: int
    owner_started: int | None


def _noted(path: Path) -> _Noted | None:
    """What the file says; half a file, or none, names nobody."""
    try:
        return _Noted(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


async def _end(pid: int, *, started: int, deadline: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            async with asyncio.timeout(deadline):
                while _started(pid) == started:  # noqa: ASYNC110 - a process that is not our child gives no event
                    await asyncio.sleep(_POLL)
        except ProcessLookupError:
            return
        except TimeoutError:
            continue
        return
    raise Occupied(f"a broker of an earlier run (process {pid}) does not end", dependency=DEPENDENCY)


def _started(pid: int) -> int | None:
    """The start time of a living process in clock ticks since boot; None where there is none, or no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
