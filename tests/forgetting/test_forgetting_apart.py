"""Forgetting where roles run apart: asked for in one process, done in another, and hidden in both."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.platform.people import Person
from tests.support.instance import Broker, Instance, wait_until


@pytest.mark.parametrize("isolation", ["shared", "dedicated"])
def test_what_is_asked_of_ingest_is_hidden_and_erased_in_search(tmp_path: Path, prepared: Callable[[Path], Path], isolation: str) -> None:
    """Within a second, and for good; ingest refuses the ids from then on, and takes the session again."""
    (tmp_path / "common").mkdir(mode=0o700)
    keys = {name: str(tmp_path / "common" / file) for name, file in (("KEY_FILE", "kek"), ("TOKEN_FILE", "token"))}
    shared = {f"KALENDS_AUTH__{name}": path for name, path in keys.items()} | {"KALENDS_ERASURE__FENCE_S": "0.5"}
    with Broker(tmp_path / "nats").start() as broker:
        settings = {**broker.settings, **shared}
        ingest = Instance(prepared(tmp_path / "ingest"), roles=["ingest"], settings=settings)
        search = Instance(prepared(tmp_path / "search"), roles=["index", "search"], settings=settings)
        with ingest, search, Person(ingest.start(), ingest.token) as writing, Person(search.start(), search.token) as reading:
            memory = writing.make_memory("apart", isolation=isolation)
            names = ["gone"] * 5 + ["kept"] * 5
            told = [{"session_id": name, "kind": "note", "text": f"zz{name}zz {number}"} for number, name in enumerate(names)]
            results = writing.good("POST", f"{memory}/events", {"events": told})["results"]
            ids = [one["event_id"] for one in results]
            assert wait_until(lambda: len(reading.good("GET", f"{memory}/events")["items"]) == 10, seconds=30)

            begun = writing.ask("POST", f"{memory}/erasures", {"session_id": "gone"}).json()
            assert wait_until(lambda: len(reading.good("GET", f"{memory}/events")["items"]) == 5, seconds=10)

            def erased() -> bool:
                return writing.good("GET", f"{memory}/erasures/{begun['erasure_id']}")["state"] == "erased"

            assert wait_until(erased, seconds=90, every=0.2), search.last_words[-3000:]
            assert [reading.ask("GET", f"{memory}/events/{one}").status_code for one in ids] == [410] * 5 + [200] * 5
            again = {"events": [{**told[0], "event_id": ids[0]}]}
            # until it has heard that the erasure is over, ingest takes nothing for the session, and says that it should be tried again
            assert wait_until(lambda: "'code': 'erased'" in str(writing.ask("POST", f"{memory}/events", again).json()), seconds=20)
            assert writing.ask("POST", f"{memory}/events", {"events": [told[0]]}).status_code == 202
            assert writing.ask("GET", f"{memory}/erasures/{begun['erasure_id']}/receipt").json()["probe"]["keys"] == 0
