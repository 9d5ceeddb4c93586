"""Conditions keep their time until they flip, and only transitions are events."""

from datetime import UTC, datetime, timedelta

from kalends_operator.desired.conditions import Condition, merged, moment, stamp, transitions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
READY = Condition(type="Ready", status="True", reason="Good")


def test_time_moves_when_the_status_flips_only():
    """Time moves when the status flips only."""
    before = merged([], [READY], at=NOW, generation=1)
    same = merged(before, [Condition(type="Ready", status="True", reason="Other", message="new")], at=LATER, generation=2)
    flipped = merged(same, [Condition(type="Ready", status="False", reason="Bad")], at=LATER, generation=3)

    assert same[0]["lastTransitionTime"] == stamp(NOW)
    assert (same[0]["reason"], same[0]["observedGeneration"]) == ("Other", 2)
    assert flipped[0]["lastTransitionTime"] == stamp(LATER)


def test_what_did_not_change_is_no_event():
    """What did not change is no event."""
    before = merged([], [READY], at=NOW, generation=1)

    assert transitions(before, [READY], bad={"Ready": "False"}) == []


def test_becoming_ready_is_an_event_and_becoming_unready_a_warning():
    """Becoming ready is an event and becoming unready a warning."""
    bad = {"Ready": "False"}
    first = transitions([], [READY], bad=bad)
    before = merged([], [READY], at=NOW, generation=1)
    second = transitions(before, [Condition(type="Ready", status="False", reason="Bad")], bad=bad)  # type: ignore[arg-type]  # a literal

    assert [(one.reason, one.warning) for one in (*first, *second)] == [("Good", False), ("Bad", True)]


def test_times_are_read_as_they_are_written():
    """Times are read as they are written."""
    assert moment(stamp(NOW)) == NOW
    assert moment("nonsense") is None
