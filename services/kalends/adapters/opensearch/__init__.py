"""OpenSearch: the lexicon of a cluster, in indexes that memories share.

What the container needs stands here; everything else is private to the package. A newcomer would get wrong: only this package imports
OpenSearch's client, so that its successor can take its place in one folder.
"""

from kalends.adapters.opensearch.client import OpenSearchClient, open_opensearch
from kalends.adapters.opensearch.generations import OpenSearchGenerations, open_generations
from kalends.adapters.opensearch.lexicon import OpenSearchLexicon

__all__ = ["OpenSearchClient", "OpenSearchGenerations", "OpenSearchLexicon", "open_generations", "open_opensearch"]
