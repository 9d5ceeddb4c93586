"""The search service: hybrid search, context, events by time and id, sessions. Never writes."""
