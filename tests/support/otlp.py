"""A receiver of OTLP over HTTP: takes requests as any collector does, and keeps the spans that it decodes.

Belongs here: the wire. Does not belong here: what the spans must be. A newcomer would get wrong: what does not decode is answered with 400
and kept apart, so that a test sees it; and it can be told to refuse, as a collector that is overloaded does.
"""

import gzip
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as it came over the wire; ids in hex, ``status`` 2 is an error."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    seconds: float
    attributes: Mapping[str, str]
    links: Sequence[tuple[str, str]]
    resource: Mapping[str, str]


class Receiver:
    """One receiver on loopback; a context manager that ends it. ``refusals``: so many requests are answered with 503 first."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.refusals = refusals
        self.requests: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.broken = 0
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What ``telemetry.otlp_url`` is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> Sequence[Span]:
        """What came until now."""
        with self._lock:
            return list(self._spans)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one request."""
        with self._lock:
            self.requests.append({name.lower(): value for name, value in headers.items()})
            if self.refusals:
                self.refusals -= 1
                return 503, b""
            try:
                content = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                request = ExportTraceServiceRequest.FromString(content)
            except (DecodeError, OSError):
                self.broken += 1
                return 400, b""
            if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
                self.broken += 1
                return 404, b""
            self.bodies.append(content)
            self._spans += _spans(request)
            return 200, ExportTraceServiceResponse().SerializeToString()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                status, answer = receiver.take(self.path, self.headers, body)  # type: ignore[arg-type]
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing: tests are quiet."""

        return Handler


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=span.kind,
            status=span.status.code,
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            attributes={one.key: one.value.string_value for one in span.attributes},
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            resource={one.key: one.value.string_value for one in of_resource.resource.attributes},
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
