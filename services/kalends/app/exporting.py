"""Exporting: traces go where the settings say, for as long as a process runs.

Belongs here: switching it on before the first span and off after the last. Does not belong here: spans (``edge.tracing``) and sending
(``adapters.otlp``). A newcomer would get wrong: without an address nothing of OpenTelemetry's SDK is even imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from kalends.settings import TelemetrySettings


@contextmanager
def exported(settings: TelemetrySettings, *, version: str, service: str) -> Iterator[None]:
    """Send the spans of this process while the block runs, if there is an address to send them to.

    Raises:
        Misconfigured: the settings cannot be used.
    """
    if not settings.otlp_url:
        yield
        return
    from kalends.adapters.otlp.exporter import open_provider

    provider = open_provider(settings, version=version, service=service)
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
