"""Edge shards as tests write and examine them.

Belongs here: what the suites of several modules of the embedded vectors need. Does not belong here: tests.
"""

from pathlib import Path
from typing import Any

from kalends.adapters.embedded import edge_points, shards, vector_checking
from kalends.domain.queries import Tombstone
from kalends.ports.vectors import VectorEntry
from tests.contracts.projections import DIMENSION

IDENTITY = "test"


def opened(folder: Path) -> Any:
    """The shard in *folder*."""
    return shards.open_current(folder, identity=IDENTITY, dimension=DIMENSION)[1]


def write(shard: Any, *sources: VectorEntry | Tombstone) -> None:
    """Put *sources* into the shard, sums of token vectors included."""
    from qdrant_edge import UpdateOperation

    points = [point for source in sources for point in edge_points.Change(source).points(DIMENSION)]
    shard.update(UpdateOperation.upsert_points(points))
    vector_checking.sum_up(shard, [point.id for point in points])


def damage(shard: Any) -> list[str]:
    """Everything that is found, page by page."""
    found: list[str] = []
    offset: object = None
    while True:
        page = vector_checking.look(shard, offset)
        found += vector_checking.settle(shard, page.doubted)
        offset = page.following
        if offset is None:
            return found
