"""Imports that are killed: asked for again, they end as one that nothing disturbed, and leave the same file.

Belongs here: dying in the middle of an import. Does not belong here: what becomes of a line (``tests/platform/test_transfers``). A newcomer
would get wrong: the calendar of a memory waits while something is imported; of an import that died it waits a minute, and then goes on.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import verdicts
from tests.support.instance import Instance, wait_until
from tests.support.moving import exported, loaded, of_kind, settle

from kalends.client.errors import ClientError

PLACES = ("import.after-events", "import.after-nodes")
DAYS = ("2021-03-04", "2022-07-08")


def test_an_import_that_is_killed_goes_on_where_it_was(tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    """Behind the first events, and between two versions of the calendar."""
    with Instance(prepared(tmp_path / "data")) as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            api.good("PUT", "/memories/whole", {})
            for hour in (9, 15):
                said = [
                    {
                        "session_id": f"s-{hour}",
                        "kind": "note",
                        "text": f"The ferry left at {hour} on {day}.",
                        "occurred_at": f"{day}T{hour:02d}:00:00Z",
                    }
                    for day in DAYS
                ]
                api.good("POST", "/memories/whole/events", {"events": said})
                settle(api)
        file = exported(instance, "whole")
        assert len(of_kind(file, "node")) > len({one["node_id"] for one in of_kind(file, "node")}), "no node has two versions"
        assert instance.terminate() == 0

        for place in PLACES:
            name = place.replace(".", "-")
            instance.start({"KALENDS_FAILPOINTS": f"{place}=kill"})
            with verdicts.api_of(instance) as api:
                api.good("PUT", f"/memories/{name}", {})
            with pytest.raises(ClientError):
                loaded(instance, name, file, patience_s=0.2)
            assert wait_until(lambda: not instance.running, seconds=30)
        instance.start()
        for place in PLACES:
            name = place.replace(".", "-")
            assert loaded(instance, name, file).failed == 0
            assert exported(instance, name) == file
        with verdicts.api_of(instance) as api:
            settle(api)
        assert [exported(instance, place.replace(".", "-")) == file for place in PLACES] == [True, True]
        assert instance.terminate() == 0
