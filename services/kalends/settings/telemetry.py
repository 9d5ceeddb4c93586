"""Settings of what a process tells of itself: log lines and traces.

Belongs here: the group of the tree. Does not belong here: what is told. A newcomer would get wrong: traces go nowhere unless an address is
named, and the variables that OpenTelemetry's own exporters read have no effect.
"""

from typing import Annotated

from msgspec import Meta, Struct

LEVEL = "(debug|info|warning|error)"


class TelemetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logs and traces; neither holds anybody's words."""

    level: Annotated[str, Meta(pattern=f"^{LEVEL}$", description="Least severe log line that is written.")] = "info"
    levels: Annotated[
        str,
        Meta(
            pattern=f"^([a-z_.]+={LEVEL}(, *[a-z_.]+={LEVEL})*)?$",
            description="Other levels for modules and what is below them, such as kalends.index=debug, with commas between.",
        ),
    ] = ""
    log_file: Annotated[str, Meta(description="File that log lines are written to; empty: standard error.")] = ""
    log_file_mib: Annotated[float, Meta(gt=0, description="Size at which a new log file is begun, in MiB.")] = 64.0
    log_files: Annotated[int, Meta(ge=1, le=100, description="Log files that are kept, the one that is written included.")] = 5
    otlp_url: Annotated[
        str, Meta(description="Where traces are sent (OTLP over HTTP, without /v1/traces), such as http://127.0.0.1:4318; empty: nowhere.")
    ] = ""
    otlp_share: Annotated[
        float, Meta(ge=0, le=1, description="Share of the traces begun here that are sent; of one that a caller began, the caller decides.")
    ] = 1.0
    otlp_headers_file: Annotated[
        str, Meta(description="File with headers for the receiver, such as a key: one `name: value` in a line.")
    ] = ""
    otlp_ca_file: Annotated[str, Meta(description="File with the certificates that sign the receiver's; empty: the system's.")] = ""
    otlp_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one delivery of traces, in seconds; what is late is lost.")] = 5.0
