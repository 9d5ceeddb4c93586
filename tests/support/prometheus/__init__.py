"""A real Prometheus and its promtool for tests: fetched once into the user's cache, started and ended by the tests."""
