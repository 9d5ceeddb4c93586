"""A real OpenSearch for tests: fetched once into the user's cache, started and ended by the tests."""
