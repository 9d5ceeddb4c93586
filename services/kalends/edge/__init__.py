"""What a service is, and the transports that answer for it: HTTP, NATS, auth, problems, probes, metrics, tracing."""
