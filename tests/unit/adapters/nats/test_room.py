"""Room on the broker's disk: what is refused below which mark, and how a broker that ran out is noticed."""

from pathlib import Path

import pytest

from kalends.adapters.nats import room
from kalends.adapters.nats.room import MIB, OutOfRoom, Room
from kalends.domain.errors import Unavailable
from kalends.kit.stalls import Stall


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How much is free, to be set."""
    told = {"mib": 1000}
    monkeypatch.setattr(room, "free_bytes", lambda _: told["mib"] * MIB)
    return told


def test_what_users_say_is_refused_sooner_than_what_kalends_notes(tmp_path: Path, free: dict[str, int]) -> None:
    """Without notes nobody could erase anything to make room."""
    asked = Room(tmp_path)
    free["mib"] = 32
    asked.need()

    free["mib"] = 31
    with pytest.raises(Unavailable, match="31 MiB free of the 32 needed") as refused:
        asked.need()
    assert (refused.value.dependency, refused.value.retry_after) == ("disk", 5.0)
    asked.need_spare()

    free["mib"] = 7
    with pytest.raises(Unavailable, match="7 MiB free of the 8 needed"):
        asked.need_spare()


def test_a_disk_that_hangs_is_written_to_no_more(tmp_path: Path, free: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what users say nor notes: each would wait in vain, and its outcome would be unknown."""
    hangs = {"s": 2.9}
    monkeypatch.setattr(Stall, "seconds", lambda _: hangs["s"])
    asked = Room(tmp_path)
    asked.need()

    hangs["s"] = 3.0
    for need in (asked.need, asked.need_spare):
        with pytest.raises(Unavailable, match="hangs: it has taken nothing for 3 s") as refused:
            need()
        assert (refused.value.dependency, refused.value.retry_after) == ("disk", 5.0)

    hangs["s"] = 0.0
    asked.need()


def test_the_broker_of_somebody_else_is_asked_nothing(free: dict[str, int]) -> None:
    """Its disk is not ours to see."""
    free["mib"] = 0
    Room(None).need()
    Room(None).need_spare()


def test_a_broker_that_complained_of_no_room_is_mended_once_there_is_room(tmp_path: Path, free: dict[str, int]) -> None:
    """What an earlier one said does not count, and neither does room that is still lacking."""
    log = tmp_path / "broker.log"
    log.write_text("write: No space left on device\n", encoding="utf-8")
    watched = OutOfRoom(tmp_path)
    watched.begin()
    assert not watched.is_mendable()

    with log.open("a", encoding="utf-8") as file:
        file.write("Filestore [KEYS] Critical write error: no space left on device\n")
    free["mib"] = 31
    assert not watched.is_mendable()
    free["mib"] = 32
    assert watched.is_mendable()

    watched.begin()
    assert not watched.is_mendable()


def test_a_disk_that_was_seen_without_room_counts_without_a_complaint(tmp_path: Path, free: dict[str, int]) -> None:
    """The complaint may have had no room either."""
    watched = OutOfRoom(tmp_path)
    watched.begin()
    free["mib"] = 0
    assert not watched.is_mendable()
    free["mib"] = 1000
    assert watched.is_mendable()


def test_a_log_that_was_begun_anew_is_read_from_its_start(tmp_path: Path, free: dict[str, int]) -> None:
    """The broker puts a long log aside."""
    log = tmp_path / "broker.log"
    log.write_text("x" * 500, encoding="utf-8")
    watched = OutOfRoom(tmp_path)
    watched.begin()
    log.write_text("no space left on device\n", encoding="utf-8")
    assert watched.is_mendable()
