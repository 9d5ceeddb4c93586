"""The lexicon on an OpenSearch cluster; the only modules that import opensearch-py."""
