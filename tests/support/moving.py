"""Moving memories in tests: exports and imports by the SDK, and calendars that have nothing left to do.

Belongs here: the acts. Does not belong here: what must come of them. A newcomer would get wrong: a calendar is only done when nothing is
due and nothing is on its way to it, and today's sessions are only cut if somebody asks for it.
"""

import io
import json
from typing import Any, Protocol

from kalends.client import ImportReport, Kalends
from kalends.client.exchanges import RetryPolicy
from tests.support.instance import Instance, wait_until

_EVERY_S = 0.3
_LOOKS = 3
"""So often in a row nothing is to be seen: what the status says of the lag may be half a second old."""


class Asker(Protocol):
    """Whoever talks to an instance."""

    def good(self, method: str, path: str, body: object = None) -> Any: ...

    def ask(self, method: str, path: str, body: object = None) -> Any: ...


def settle(asker: Asker) -> None:
    """Return once no calendar has anything to do, not even with what was said a moment ago."""
    quiet = 0

    def settled() -> bool:
        nonlocal quiet
        status = asker.good("GET", "/status")
        due = status["calendar"]
        if (due["units_due"], due["periods_due"]) == (0, 0) and not any(lag["events"] for lag in status["lag"].values()):
            quiet += 1
            return quiet > _LOOKS
        quiet = 0
        asker.ask("POST", "/scheduler/jobs/toc-day/run")
        return False

    assert wait_until(settled, seconds=60, every=_EVERY_S), asker.good("GET", "/status")


def exported(instance: Instance, memory: str, *, token: str | None = None) -> bytes:
    """The file of a memory."""
    into = io.BytesIO()
    with Kalends(url=instance.url, token=token or instance.token) as kalends:
        kalends.transfers.export(memory, into)
    return into.getvalue()


def loaded(instance: Instance, memory: str, file: bytes, *, dry_run: bool = False, patience_s: float = 30.0) -> ImportReport:
    """What became of a file that was taken in."""
    with Kalends(url=instance.url, token=instance.token, retry=RetryPolicy(total_s=patience_s)) as kalends:
        return kalends.transfers.load(memory, io.BytesIO(file), dry_run=dry_run)


def of_kind(file: bytes, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind."""
    return [one for one in map(json.loads, file.splitlines()) if one["type"] == kind]
