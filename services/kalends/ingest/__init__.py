"""The ingest service: validation, sealing, idempotency, durable append, documents to chunks, administration. Never indexes."""
