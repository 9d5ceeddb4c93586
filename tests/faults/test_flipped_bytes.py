"""A byte flips in a file of a projection: found, named, told, and mended by building it anew.

Belongs here: projections of our own: the word index and the vectors, which the job that compares examines while they serve, and the rows of
timeline and calendar, which are compared with their sums when they are opened. Does not belong here: the log, the archive and backups
(``test_archive``, ``services/test_backing_up``). A newcomer would get wrong: the engines themselves notice nothing of most flipped bytes;
they answer otherwise.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from qdrant_edge import ScrollRequest
from tests.support import verdicts
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger, an_event

from kalends.adapters.embedded import shards

MEMORY = "flips"
EVENTS = 300
HEALING = {"KALENDS_INDEX__HEAL_AFTER_S": "0.5"}


@pytest.fixture
def ledger(instance: Instance) -> Ledger:
    """What an instance holds that has ended."""
    source, made = random.Random(1), Ledger()
    with verdicts.api_of(instance.start(HEALING)) as api:
        api.make_memory(MEMORY)
        events = [an_event(source, session="all") for _ in range(EVENTS)]
        for start in range(0, EVENTS, 100):
            made.note(events[start : start + 100], api.append(MEMORY, events[start : start + 100]).body["results"])
        api.quiet()
    assert instance.terminate() == 0
    return made


@pytest.mark.parametrize("kind", ["idx", "store", "fast"])
def test_a_flipped_byte_of_the_word_index_is_found_named_and_mended(instance: Instance, ledger: Ledger, kind: str) -> None:
    """The old index serves until the new one is whole."""
    path = max((instance.data / "lexical").rglob(f"*.{kind}"), key=lambda one: one.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)

    named = named_and_mended(instance, ledger, projection="lexical", count=1)
    assert [file.rpartition("/")[2] for file in named] == [path.name]
    assert not path.exists()


def test_flipped_bytes_of_vectors_and_their_payloads_are_found_named_and_mended(instance: Instance, ledger: Ledger) -> None:
    """Since they were written, for nothing had examined them before; of each point it is said what of it is damaged."""
    folder = instance.data / "vector"
    dense, payload = points(folder, count=2)
    flip(
        folder, "vector_storage-dense/vectors", lambda content: content.index(np.asarray(dense.vector["dense"], np.float16).tobytes()) + 101
    )
    # its first copy may be what stood there before its token vectors were summed up
    flip(folder, "payload_storage", lambda content: content.rindex(payload.payload["key"].encode()) + 7)
    flip(folder, "vector_storage-tokens/tq_vectors", lambda content: int(np.flatnonzero(np.frombuffer(content, np.uint8))[0]))

    named = named_and_mended(instance, ledger, projection="vector", count=3)
    parts = {part: point for _, point, part in (name.split("/") for name in named)}
    assert parts.keys() == {"dense", "payload", "tokens"}
    assert (parts["dense"], parts["payload"]) == (str(dense.id), str(payload.id))


def points(folder: Path, *, count: int) -> list[Any]:
    """Points of the only shard in *folder*, the last ones by id, with all that is held of them."""
    (path,) = (one.parent for one in folder.rglob("edge_config.json"))
    shard = shards.load(path)
    found, _ = shard.scroll(ScrollRequest(limit=10_000, with_payload=True, with_vector=["dense"]))
    shard.close()
    return [one for one in found if "dense" in one.vector][-count:]


def flip(folder: Path, within: str, place: Callable[[bytes], int]) -> None:
    """Change a bit of a byte of the only file of data *within* a folder of that name."""
    (path,) = (path for path in folder.rglob("*") if path.parent.match(f"*/{within}") and path.name in {"chunk_0.mmap", "page_0.dat"})
    content = path.read_bytes()
    where = place(content)
    with path.open("r+b") as file:
        file.seek(where)
        file.write(bytes([content[where] ^ 1]))


def named_and_mended(instance: Instance, ledger: Ledger, *, projection: str, count: int) -> list[str]:
    """Start, compare, wait until another generation serves, and judge; the names of what was found, which are *count*."""
    with verdicts.api_of(instance.start(HEALING)) as api:
        serving = api.status()["generations"][projection]
        api.run_job("reconcile")

        assert wait_until(lambda: api.status()["generations"][projection] != serving, seconds=60, every=0.1), instance.last_words[-2000:]
        api.quiet()
        verdicts.projections_agree(api, events=EVENTS)
        verdicts.nothing_lost(instance, ledger, memory=MEMORY)
        metrics = httpx.get(f"{instance.ops_url}/metrics").text
    told = [json.loads(line) for line in instance.last_words.splitlines() if '"files of a projection are damaged"' in line]
    assert f'kalends_reconcile_findings_total{{projection="{projection}",result="damaged"}} {count}.0' in metrics
    return [name for line in told for name in line["files"]]


@pytest.mark.parametrize("name", ["timeline", "calendar"])
def test_a_flipped_byte_of_rows_is_found_by_the_next_start_and_mended(instance: Instance, ledger: Ledger, name: str) -> None:
    """In the middle of the file, where SQLite sees another value or none at all."""
    path = instance.data / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with verdicts.api_of(instance.start(HEALING)) as api:
        api.quiet()
        verdicts.projections_agree(api, events=EVENTS)
        verdicts.nothing_lost(instance, ledger, memory=MEMORY)
    told = [json.loads(line) for line in instance.last_words.splitlines() if f'"{name} is built anew from the log"' in line]
    assert [one["reason"] for one in told] == [f"{path.name} changed since it was closed"]
