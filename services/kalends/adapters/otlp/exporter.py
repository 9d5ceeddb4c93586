"""The exporter: batches of spans as protobuf, sent in a thread of their own.

Belongs here: one delivery and what is worth a second try. Does not belong here: collecting spans, which OpenTelemetry's SDK does, in a
queue that drops what is too much. A newcomer would get wrong: nobody waits for a delivery, and one that fails is lost; traces are for
looking, and memory is not kept waiting for them.
"""

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from kalends.domain.errors import Misconfigured
from kalends.settings import TelemetrySettings

log = structlog.get_logger(__name__)

_PATH = "/v1/traces"
_AGAIN = frozenset({429, 502, 503, 504})
"""Answers after which OTLP asks to try again."""
_PAUSE_S = 0.5
HTTP_ERRORS: Final[Mapping[type[Exception], str]] = {
    httpx.TimeoutException: "no answer in time",
    httpx.TransportError: "cannot be reached",
    httpx.HTTPError: "no answer",
    httpx.StreamError: "no answer",
    OSError: "cannot be reached",
    RuntimeError: "the process ends",
}
"""What httpx's exceptions are called in the log, the most specific first; a client that was closed meanwhile raises the last."""

_QUEUE = 4096
_BATCH = 512
_EVERY_MS = 1000


class OtlpExporter(SpanExporter):
    """Sends spans to *url*; each delivery has *deadline_s* seconds, further tries included."""

    def __init__(self, url: str, *, headers: Mapping[str, str], verify: ssl.SSLContext | bool, deadline_s: float) -> None:
        self._url = url.rstrip("/") + _PATH
        self._deadline_s = deadline_s
        self._ending = threading.Event()
        self._failing = False
        self._client = httpx.Client(
            headers={**headers, "content-type": "application/x-protobuf", "user-agent": "kalends", "accept-encoding": "identity"},
            timeout=deadline_s,
            verify=verify,
            trust_env=False,
            follow_redirects=False,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send *spans* once, and again until the deadline where that may help; nothing more once it ends and the receiver is away."""
        if self._ending.is_set() and self._failing:
            return SpanExportResult.FAILURE
        body = encode_spans(spans).SerializeToString()
        until = time.monotonic() + self._deadline_s
        while True:
            answer = self._send(body)
            if answer == "ok":
                self._tell(failing=False, why="")
                return SpanExportResult.SUCCESS
            if answer.startswith("again"):
                left = until - time.monotonic()
                if left > _PAUSE_S and not self._ending.wait(_PAUSE_S):
                    continue
            self._tell(failing=True, why=answer)
            return SpanExportResult.FAILURE

    def look(self) -> str:
        """Deliver nothing at all, once; what is wrong with the receiver, or nothing."""
        answer = self._send(encode_spans([]).SerializeToString())
        return "" if answer == "ok" else answer.removeprefix("again: ")

    def end(self) -> None:
        """Try nothing again: the process ends, and what is left is sent once."""
        self._ending.set()

    def shutdown(self) -> None:
        """End the connections."""
        self.end()
        self._client.close()

    def _send(self, body: bytes) -> str:
        try:
            answer = self._client.post(self._url, content=body)
        except tuple(HTTP_ERRORS) as error:
            return f"again: {reason(error)}"
        if answer.is_success:
            return "ok"
        return f"{'again: ' if answer.status_code in _AGAIN else ''}status {answer.status_code}"

    def _tell(self, *, failing: bool, why: str) -> None:
        """Say when it begins to fail, and when that is over; not each time."""
        if failing and not self._failing:
            log.warning("traces cannot be delivered and are lost", reason=why)
        elif self._failing and not failing:
            log.info("traces are delivered again")
        self._failing = failing


class _Ending(SpanProcessor):
    """Tells an exporter that the process ends, before those who have spans left wait for it."""

    def __init__(self, exporter: OtlpExporter) -> None:
        self._exporter = exporter

    def shutdown(self) -> None:
        """The SDK ends its processors in their order."""
        self._exporter.end()


def reason(error: Exception) -> str:
    """What an exception of httpx's is called; its own words may quote the address's headers."""
    return next((words for foreign, words in HTTP_ERRORS.items() if isinstance(error, foreign)), type(error).__name__)


def open_exporter(settings: TelemetrySettings) -> OtlpExporter:
    """What sends spans to ``otlp_url``; nothing is sent yet.

    Raises:
        Misconfigured: the URL is none, or a file cannot be read.
    """
    return OtlpExporter(
        _checked(settings.otlp_url),
        headers=_headers(settings.otlp_headers_file) if settings.otlp_headers_file else {},
        verify=_trusted(settings.otlp_ca_file) if settings.otlp_ca_file else True,
        deadline_s=settings.otlp_deadline_s,
    )


def open_provider(settings: TelemetrySettings, *, version: str, service: str) -> TracerProvider:
    """What makes spans and sends them to ``otlp_url``; nothing is sent yet. Its ``shutdown`` sends what is left and ends its thread.

    Raises:
        Misconfigured: the URL is none, or a file cannot be read.
    """
    exporter = open_exporter(settings)
    # not Resource.create, which asks the environment and the machine
    resource = Resource({"service.name": "kalends", "service.version": version, "kalends.roles": service})
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(settings.otlp_share)), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_Ending(exporter))
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=_QUEUE,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_BATCH,
            export_timeout_millis=settings.otlp_deadline_s * 1000,
        )
    )
    return provider


def _checked(url: str) -> str:
    wrong = "telemetry.otlp_url must be an http or https URL without user or password, such as http://127.0.0.1:4318"
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Misconfigured(wrong) from error
    if parts.scheme not in {"http", "https"} or not parts.host or parts.userinfo or parts.query or parts.fragment:
        raise Misconfigured(wrong)
    return url


def _headers(path: str) -> Mapping[str, str]:
    try:
        lines = Path(path).expanduser().read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"telemetry.otlp_headers_file: {path} cannot be read") from error
    pairs = [line.partition(":") for line in lines if line.strip()]
    if any(not colon or not name.strip() or not value.strip() for name, colon, value in pairs):
        raise Misconfigured(f"telemetry.otlp_headers_file: {path} must hold one `name: value` in a line")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _trusted(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=Path(path).expanduser())
    except OSError as error:  # an SSLError is one too
        raise Misconfigured(f"telemetry.otlp_ca_file: {path} does not hold certificates") from error
