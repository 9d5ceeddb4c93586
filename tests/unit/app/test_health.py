"""What is said of the disk."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kalends.app import health


def test_a_full_disk_degrades_names_the_next_step_and_is_up_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes nothing unready, for reads go on; since when it lasts stays the same while it does."""
    free = {"mib": 2048}
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: SimpleNamespace(free=free["mib"] << 20))
    ask = health.of_disk(tmp_path, needed=32 << 20)
    (well,) = ask()
    assert (well.name, well.state, well.detail, well.next_step, well.required) == ("disk", "up", "2.0 GiB free", "", False)

    free["mib"] = 31
    (full,) = ask()
    assert (full.state, full.detail) == ("degraded", "full: 31 MiB free of the 32 needed")
    assert full.next_step.startswith("make room")
    assert ask()[0].since == full.since

    free["mib"] = 32
    assert ask()[0].state == "up"
