"""What the operator counts, and the two pages that tell of it: /metrics and /livez.

Belongs here: metrics and the thread that serves them. Does not belong here: when something is counted. A newcomer would get wrong: no
resource is named in a label; /livez asks whether the event loop still turns, not whether Kalends or the API server answer.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

LIVE_S = 30.0
"""An event loop that did not turn for so long, in seconds, is not alive."""


class Metrics:
    """Counters in a registry of their own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "kalends_operator_reconciles", "Looks at a resource, by what came of it", ("kind", "outcome"), registry=self.registry
        )
        self.duration = Histogram("kalends_operator_reconcile_duration_seconds", "Time of one look", ("kind",), registry=self.registry)
        self.objects = Gauge("kalends_operator_objects", "Resources by phase", ("kind", "phase"), registry=self.registry)
        self.leader = Gauge("kalends_operator_is_leader", "Whether this operator holds the lease", registry=self.registry)
        self._clock = clock
        self._phases: dict[tuple[str, str], str] = {}
        self._turned = clock()

    def turn(self) -> None:
        """Say that the event loop turns."""
        self._turned = self._clock()

    @property
    def alive(self) -> bool:
        """Whether the event loop turned lately."""
        return self._clock() - self._turned < LIVE_S

    def phase(self, kind: str, uid: str, phase: str | None) -> None:
        """A resource is in a phase; None: it is gone."""
        before = self._phases.pop((kind, uid), None)
        if before is not None:
            self.objects.labels(kind, before).dec()
        if phase is not None:
            self._phases[kind, uid] = phase
            self.objects.labels(kind, phase).inc()


class _Quiet(WSGIRequestHandler):
    """A handler that writes no line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - the names are wsgiref's
        return


class Pages:
    """/metrics and /livez on *host* and *port*, in a thread of their own; a context manager."""

    def __init__(self, metrics: Metrics, *, host: str, port: int) -> None:
        told = make_wsgi_app(metrics.registry)

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if path == "/metrics":
                return told(environ, start)  # type: ignore[no-any-return]  # prometheus' own untyped application
            alive = path == "/livez" and metrics.alive
            status = "200 OK" if alive else "503 Service Unavailable" if path == "/livez" else "404 Not Found"
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [b"ok\n" if alive else b"no\n"]

        self._server: WSGIServer = make_server(host, port, answer, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
