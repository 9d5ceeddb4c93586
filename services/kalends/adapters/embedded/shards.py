"""The folder of an Edge shard: making one, finding the one that counts, opening it.

Belongs here: folders, and how a shard is set. Does not belong here: points (``vectors``), or writing one anew (``vacuuming``). A newcomer
would get wrong: an open shard goes on using its folder by name, so one that takes another's place does so under a name of its own, and a
small file says which one counts.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from kalends.adapters.embedded import edge_lengths, files
from kalends.adapters.embedded.failures import translated
from kalends.domain.errors import Damaged

DENSE, TOKENS = "dense", "tokens"

FORMAT = "edge4"
KEYWORDS = ("key", "lead", "grave", "tags")
_FIRST = "shard"
_UNFINISHED = "shard.new"
_POINTER = "SHARD"
_NAME = re.compile(r"shard(-[0-9]+)?")


def open_current(folder: Path, *, identity: str, dimension: int) -> tuple[Path, Any]:
    """The shard in *folder* that counts, made if there is none, and where it is; what a kill left of others is deleted.

    Raises:
        Misconfigured: it holds another model's vectors. Damaged: it cannot be read. Occupied: it is open already.
    """
    files.claim_identity(folder, f"{FORMAT}-{identity}")
    current = folder / _pointed(folder)
    if not current.exists():
        files.need_room(folder)
        create(folder, dimension)
    shard = load(current)
    # only now is it known that nobody else is at work here
    for path in folder.iterdir():
        if path.is_dir() and path != current and (_NAME.fullmatch(path.name) or path.name == _UNFINISHED):
            shutil.rmtree(path, ignore_errors=True)
    return current, shard


def load(path: Path) -> Any:
    """Open the shard at *path*."""
    from qdrant_edge import EdgeShard

    with translated("vector, opening"):
        edge_lengths.raise_to_what_is_taken(path)
        return EdgeShard.load(str(path))


def next_path(folder: Path) -> Path:
    """A place for one more shard."""
    numbers = [int(path.name.rpartition("-")[2]) for path in folder.iterdir() if _NAME.fullmatch(path.name) and "-" in path.name]
    return folder / f"{_FIRST}-{max(numbers, default=1) + 1}"


def point_at(path: Path) -> None:
    """From now on the shard at *path* counts, also after a power cut."""
    files.sync_folder(path.parent)
    files.write_whole(path.parent / _POINTER, lambda temporary: temporary.write_text(path.name + "\n", encoding="ascii"))


def _pointed(folder: Path) -> str:
    try:
        name = (folder / _POINTER).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return _FIRST
    if not _NAME.fullmatch(name) or not (folder / name).is_dir():
        raise Damaged(f"{folder / _POINTER} does not name a shard that is there", dependency="vector")
    return name


def create(folder: Path, dimension: int) -> None:
    """Make an empty shard under another name first, so that a crash leaves no half-made one behind."""
    from qdrant_edge import EdgeShard, IntegerIndexParams, KeywordIndexParams, UpdateOperation

    unfinished = folder / _UNFINISHED
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    try:
        with translated("vector"):
            shard = EdgeShard.create(str(unfinished), config(dimension))
            shard.update(UpdateOperation.create_field_index("scope", KeywordIndexParams(is_tenant=True)))
            for name in KEYWORDS:
                shard.update(UpdateOperation.create_field_index(name, KeywordIndexParams()))
            shard.update(UpdateOperation.create_field_index("at", IntegerIndexParams(lookup=False, range=True)))
            shard.flush()
            shard.close()
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(folder / _FIRST)
    files.sync_folder(folder)


def config(dimension: int, *, optimizers: Any = None) -> Any:
    """How a shard for vectors of *dimension* is set; *optimizers* (Edge's own value) only for one that is vacuumed."""
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeVectorParams,
        HnswIndexConfig,
        Memory,
        MultiVectorComparator,
        MultiVectorConfig,
        VectorStorageDatatype,
    )

    return EdgeConfig(
        vectors={
            DENSE: EdgeVectorParams(size=dimension, distance=Distance.Dot, datatype=VectorStorageDatatype.Float16, memory=Memory.Cached),
            TOKENS: EdgeVectorParams(
                size=dimension,
                distance=Distance.Dot,
                datatype=VectorStorageDatatype.Turbo8,
                memory=Memory.Cold,
                multivector_config=MultiVectorConfig(MultiVectorComparator.MaxSim),
            ),
        },
        hnsw_config=HnswIndexConfig(m=0, ef_construct=64, full_scan_threshold=10_000, max_indexing_threads=1),
        payload_memory=Memory.Cold,
        max_search_threads=1,
        optimizers=optimizers,
    )
