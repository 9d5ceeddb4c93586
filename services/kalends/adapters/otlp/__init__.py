"""Traces to a receiver of OpenTelemetry's protocol (OTLP) over HTTP.

Belongs here: making OpenTelemetry's SDK send what ``edge.tracing`` begins, and sending it. Does not belong here: what is a span. A newcomer
would get wrong: the SDK's own exporter follows the environment's proxies and variables, so that spans could go where no setting says; this
one knows the settings only.
"""
