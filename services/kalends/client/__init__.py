"""The Python SDK; the command line is its first user."""
