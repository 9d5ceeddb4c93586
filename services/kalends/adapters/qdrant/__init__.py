"""Vectors on a Qdrant server; the only modules that import qdrant-client."""
