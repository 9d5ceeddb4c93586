"""Data folders as earlier versions left them: each is opened, answers as it did, takes more, and is built anew from its log.

Belongs here: one test over every folder in ``tests/golden/data``. Does not belong here: making them (``support.golden_folder``), or single
envelopes (``tests/unit/wire/test_golden``). A newcomer would get wrong: these folders are never changed, only added to; if a test fails
over one of them, the code is wrong, for somebody's data folder is like it.
"""

import asyncio
import json
from pathlib import Path

import pytest
from tests.support import golden_folder, verdicts
from tests.support.golden_folder import FOLDER, MEMORY
from tests.support.instance import Instance, NotStarted

from kalends.adapters.nats import open_nats
from kalends.domain import formats

KEPT = sorted(FOLDER.glob("format-*.tar.xz"))


def unpacked(archive: Path, data: Path, prepared) -> Path:  # type: ignore[no-untyped-def]
    """The folder of *archive*, with the model's graph."""
    golden_folder.unpack(archive, data)
    prepared(data)
    return data


def test_there_is_a_folder_of_every_format_that_is_read() -> None:
    """Whoever raises the format keeps a folder of the one before, and adds one of the new."""
    kept = [int(path.name.removeprefix("format-").removesuffix(".tar.xz")) for path in KEPT]
    assert kept == list(range(formats.OLDEST, formats.WRITTEN + 1))


@pytest.mark.parametrize("archive", KEPT, ids=lambda path: path.name.split(".")[0])
def test_a_folder_of_an_earlier_version_opens_answers_takes_more_and_is_rebuilt(archive: Path, tmp_path: Path, prepared) -> None:  # type: ignore[no-untyped-def]
    """Event by event, document by document, with its calendar; and nothing of it becomes a dead letter."""
    expected = json.loads(archive.with_suffix("").with_suffix(".json").read_text(encoding="utf-8"))
    with Instance(unpacked(archive, tmp_path / "data", prepared)) as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            api.quiet()
            assert api.status()["format"] == formats.WRITTEN
            assert golden_folder.shown(api) == expected

            event = {"session_id": "later", "kind": "message", "role": "user", "text": "The buoy was painted green."}
            assert api.append(MEMORY, [event]).status == 202
            api.quiet()
            found = api.good("POST", f"/memories/{MEMORY}/search", {"query": "colour of the buoy", "limit": 1})["hits"]
            assert [hit["text"] for hit in found] == ["The buoy was painted green."]
            verdicts.equal_a_fresh_rebuild(api)
            assert api.good("GET", "/dead-letters")["items"] == []
        assert instance.terminate() == 0


def test_a_log_with_records_of_a_later_format_is_refused_and_stays_as_it_is(tmp_path: Path, prepared) -> None:  # type: ignore[no-untyped-def]
    """The words name the ways out; once the record is gone, which only a test can do, it serves as before."""
    with Instance(prepared(tmp_path / "data")) as instance:
        instance.start()
        asyncio.run(_say_format(instance, formats.WRITTEN + 1))
        assert instance.terminate() == 0
        with pytest.raises(NotStarted, match="go back to the version that wrote them") as refused:
            instance.start()
        assert refused.value.code == 2
        assert instance.left_running() == []


async def _say_format(instance: Instance, number: int) -> None:
    config = json.loads((instance.data / "nats" / "broker.conf").read_text(encoding="utf-8"))
    platform = config["authorization"]["users"][0]
    async with open_nats(url=f"nats://{config['listen']}", user=platform["user"], password=platform["password"]) as bus:
        await bus.records.put("format", "instance", "log", str(number).encode())
