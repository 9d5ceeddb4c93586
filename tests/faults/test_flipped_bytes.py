"""A byte flips in a file of a projection: found, named, told, and mended by building it anew.

Belongs here: projections of our own: the word index, which the job that compares examines while it serves, and the rows of timeline and
calendar, which are compared with their sums when they are opened. Does not belong here: the log, the archive and backups
(``test_archive``, ``services/test_backing_up``). A newcomer would get wrong: the engines themselves notice nothing of most flipped bytes;
they answer otherwise.
"""

import json
import random

import httpx
import pytest
from tests.support import verdicts
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger, an_event

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

    with verdicts.api_of(instance.start(HEALING)) as api:
        serving = api.status()["generations"]["lexical"]
        api.run_job("reconcile")

        assert wait_until(lambda: api.status()["generations"]["lexical"] != serving, seconds=60, every=0.1), instance.last_words[-2000:]
        api.quiet()
        verdicts.projections_agree(api, events=EVENTS)
        verdicts.nothing_lost(instance, ledger, memory=MEMORY)
        metrics = httpx.get(f"{instance.ops_url}/metrics").text
    told = [json.loads(line) for line in instance.last_words.splitlines() if '"files of a projection are damaged"' in line]
    assert [file.rpartition("/")[2] for line in told for file in line["files"]] == [path.name]
    assert 'kalends_reconcile_findings_total{projection="lexical",result="damaged"} 1.0' in metrics
    assert not path.exists()


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
