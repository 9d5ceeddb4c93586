"""A server made of prepared answers, for tests of the SDK and the command line.

Belongs here: what is answered, in which order, and what was asked. Does not belong here: any rule of the real server. A newcomer would get
wrong: an exception in the list is raised as httpx would raise it, so broken connections can be prepared too.
"""

import json
from collections.abc import Sequence
from typing import Any

import httpx


class PreparedServer:
    """Gives the prepared answers one after another; the last one again and again. Keeps every request."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: Sequence[httpx.Response | Exception] = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        prepared = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(prepared, Exception):
            raise prepared
        return prepared

    @property
    def transport(self) -> httpx.MockTransport:
        """For a blocking client as for an asynchronous one."""
        return httpx.MockTransport(self)

    def bodies(self) -> list[Any]:
        """The JSON of every request that had some."""
        return [json.loads(request.content) for request in self.requests if request.content]


def problem(status: int, code: str, *, detail: str = "no", headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    """A problem as the server sends it."""
    body = {"type": f"urn:kalends:problem:{code}", "title": code, "status": status, "detail": detail, "code": code, "request_id": "r1"}
    return httpx.Response(status, json=body | members, headers={"content-type": "application/problem+json", **(headers or {})})


def receipt(*statuses: str, visibility: str = "") -> httpx.Response:
    """The answer to an append with one result for each of *statuses*."""
    results = [{"event_id": f"{number:026}", "status": status} for number, status in enumerate(statuses)]
    return httpx.Response(202, json={"results": results, "visibility": visibility})
