"""Engines inside this process: tantivy, qdrant-edge, MiniLM on onnxruntime, SQLite, the key file."""
