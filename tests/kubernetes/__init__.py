"""Tests on a real Kubernetes API server: what only it can say about manifests, rules and rights."""
