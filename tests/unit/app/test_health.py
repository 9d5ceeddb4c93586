"""What is said of the disk."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kalends.app import health
from kalends.kit.stalls import Stall


def test_a_full_disk_degrades_names_the_next_step_and_is_up_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes nothing unready, for reads go on; since when it lasts stays the same while it does."""
    free = {"mib": 2048}
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: SimpleNamespace(free=free["mib"] << 20))
    ask = health.of_disk(tmp_path, needed=32 << 20, stall=Stall(lambda: None))
    (well,) = ask()
    assert (well.name, well.state, well.detail, well.next_step, well.required) == ("disk", "up", "2.0 GiB free", "", False)

    free["mib"] = 31
    (full,) = ask()
    assert (full.state, full.detail) == ("degraded", "full: 31 MiB free of the 32 needed")
    assert full.next_step.startswith("make room")
    assert ask()[0].since == full.since

    free["mib"] = 32
    assert ask()[0].state == "up"


def test_a_disk_that_hangs_is_named_with_how_long_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its room, which it may have plenty of; and no longer once it goes on."""
    hangs = {"s": 2.9}
    monkeypatch.setattr(Stall, "seconds", lambda _: hangs["s"])
    ask = health.of_disk(tmp_path, needed=0, stall=Stall(lambda: None))
    assert ask()[0].state == "up"

    hangs["s"] = 12.4
    (told,) = ask()
    assert (told.name, told.state, told.detail) == ("disk", "degraded", "hangs: it has taken nothing for 12 s")
    assert "reads go on" in told.next_step
    assert told.required is False

    hangs["s"] = 0.0
    assert ask()[0].state == "up"
