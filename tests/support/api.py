"""A small raw client of the HTTP API for tests that break what it talks to.

Belongs here: one request and its answer, and the few questions that many tests ask. Does not belong here: retries, which are what such
tests are about (``load``). A newcomer would get wrong: the address is asked for with every connection, because a restarted instance may
have another one; an object serves one thread.
"""

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from tests.support import planted
from tests.support.instance import wait_until

PROJECTIONS = ("timeline", "lexical", "vector")
_IDLE_S = 2.0
"""A server closes a connection that was idle for longer than it waits, and a request on such a one says nothing of the server."""


class Away(Exception):
    """No whole answer came: the request may have had an effect or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer; ``body`` is decoded JSON, or None."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Api:
    """Requests to the address that *url* says, as the holder of the token that *token* says."""

    def __init__(self, url: Callable[[], str], token: Callable[[], str], *, timeout: float = 15.0) -> None:
        self._url = url
        self._token = token
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._connected_to = ""
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request below ``/v1`` (a *path* like ``/status``), sent once.

        Raises:
            Away: no whole answer came.
        """
        try:
            if self._connected_to != self._url() or time.monotonic() - self._used_at > _IDLE_S:
                self.close()
            connection = self._connection = self._connection or self._connect()
            sent = None if body is None else json.dumps(body).encode()
            told = {"Authorization": f"Bearer {self._token()}", **({"Content-Type": "application/json"} if sent else {}), **(headers or {})}
            planted.note(body)
            connection.request(method, f"/v1{path}", body=sent, headers=told)
            answer = connection.getresponse()
            content = answer.read()
            self._used_at = time.monotonic()
            return Reply(
                status=answer.status,
                body=json.loads(content) if content else None,
                headers={name.lower(): value for name, value in answer.getheaders()},
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Away(f"{type(error).__name__}: {error}") from error

    def _connect(self) -> http.client.HTTPConnection:
        self._connected_to = self._url()
        where = urlsplit(self._connected_to)
        assert where.hostname is not None
        return http.client.HTTPConnection(where.hostname, where.port, timeout=self._timeout)

    def good(self, method: str, path: str, body: object = None) -> Any:
        """The body of an answer that must be a success."""
        reply = self.ask(method, path, body)
        assert 200 <= reply.status < 300, (method, path, reply)
        return reply.body

    def make_memory(self, name: str, *, isolation: str = "shared") -> None:
        """Make the memory *name*; one that exists is no error."""
        self.good("PUT", f"/memories/{name}", {"isolation": isolation})

    def append(self, memory: str, events: Sequence[Mapping[str, object]]) -> Reply:
        """Send *events* once."""
        return self.ask("POST", f"/memories/{memory}/events", {"events": list(events)})

    def events(self, memory: str) -> Iterator[dict[str, Any]]:
        """Every event of *memory*, page by page."""
        cursor = ""
        while True:
            page = self.good("GET", f"/memories/{memory}/events?limit=200{cursor}")
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={quote(page['next_cursor'])}"

    def event(self, memory: str, event_id: str) -> Reply:
        """One event by its id."""
        return self.ask("GET", f"/memories/{memory}/events/{quote(event_id)}")

    def status(self) -> dict[str, Any]:
        """The instance's own account of itself."""
        found: dict[str, Any] = self.good("GET", "/status")
        return found

    def digests(self) -> dict[str, str]:
        """What each projection of the process holds, as ``count:hash``."""
        found: dict[str, str] = self.good("GET", "/status?digests=true")["digests"]
        return found

    def quiet(self, projections: Sequence[str] = PROJECTIONS, *, seconds: float = 60.0) -> None:
        """Return once each of *projections*, and whatever else the process follows the log with, has everything that the log holds.

        Raises:
            TimeoutError: one of them does not get there.
        """
        seen: dict[str, Any] = {}

        def caught_up() -> bool:
            seen.clear()
            with contextlib.suppress(Away):
                seen.update(self.status()["lag"])
            return seen.keys() >= set(projections) and all(lag["events"] == 0 for lag in seen.values())

        # the lag that is told may be half a second old, and one of before the last write would look like quiet
        end = time.monotonic() + seconds
        for _ in range(2):
            if not wait_until(caught_up, seconds=end - time.monotonic(), every=0.1):
                raise TimeoutError(f"not quiet within {seconds:g} s: {seen}")
            wait_until(lambda: False, seconds=0.6, every=0.6)

    def rebuild(self, projection: str = "all", *, seconds: float = 300.0) -> None:
        """Build *projection* anew from the log, and return once the new one serves."""
        self.finished(self.good("POST", "/admin/reindexes", {"projection": projection})["operation_id"], seconds=seconds)

    def rebuild_calendar(self, *, seconds: float = 300.0) -> dict[str, Any]:
        """Write every calendar anew, and return once that is done; what is told of it in the end."""
        return self.finished(self.good("POST", "/admin/toc-rebuilds", {})["operation_id"], seconds=seconds)

    def finished(self, operation: str, *, seconds: float) -> dict[str, Any]:
        """Return once the operation has succeeded; what is told of it then."""
        told: dict[str, Any] = {}

        def ended() -> bool:
            told.update(self.good("GET", f"/operations/{operation}"))
            return told["state"] not in {"queued", "running"}

        assert wait_until(ended, seconds=seconds, every=0.1), told
        assert told["state"] == "succeeded", told
        return told

    def job(self, name: str) -> dict[str, Any]:
        """One job of the scheduler."""
        found: dict[str, Any] = next(job for job in self.good("GET", "/scheduler/jobs")["items"] if job["job_name"] == name)
        return found

    def run_job(self, name: str, *, seconds: float = 60.0) -> None:
        """Have a job run, and return once one that began after this call has succeeded; after one that failed it is asked for again."""
        end = time.monotonic() + seconds
        told: dict[str, Any] = {}

        def ended() -> bool:
            told.update(self.job(name))
            return not told["is_running"] and told["run_count"] > before

        while told.get("last_result") != "SUCCESS":
            before = self._at_rest(name, end)
            self.good("POST", f"/scheduler/jobs/{name}/run")
            assert wait_until(ended, seconds=end - time.monotonic(), every=0.1), told

    def _at_rest(self, name: str, end: float) -> int:
        """How many runs a job has had, once none is under way."""
        assert wait_until(lambda: not self.job(name)["is_running"], seconds=end - time.monotonic(), every=0.1), self.job(name)
        count: int = self.job(name)["run_count"]
        return count
