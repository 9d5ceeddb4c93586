"""A real server of S3 for tests: Versity's gateway over a folder."""
