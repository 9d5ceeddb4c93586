"""Segments: every event in exactly one, cut where silence, midnight or length says so, whatever the order of arrival."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.events import EventId, microseconds, moment
from kalends.domain.periods import day_of
from kalends.domain.segments import Cutting, Step, cut

MINUTE = 60_000_000
NOON = microseconds(datetime(2026, 1, 30, 12, tzinfo=UTC))
CUTTING = Cutting(tokens=100)


def step(number: int, minutes: float, tokens: int = 10) -> Step:
    """A step that many minutes after noon."""
    return Step(event_id=EventId(f"E{number}"), occurred_us=NOON + round(minutes * MINUTE), version=number, tokens=tokens)


def numbers(segments) -> list[list[str]]:
    """The ids of each segment's steps."""
    return [[one.event_id for one in segment.steps] for segment in segments]


@st.composite
def sessions(draw):
    """Steps of a session over a few days, in some order of arrival."""
    minutes = draw(st.lists(st.integers(0, 4 * 24 * 60), max_size=40))
    lengths = st.integers(0, 150)
    return draw(st.permutations([step(number, minute, draw(lengths)) for number, minute in enumerate(minutes)]))


def test_a_silence_of_more_than_half_an_hour_cuts():
    """Thirty minutes to the microsecond do not."""
    steps = [step(1, 0), step(2, 30), step(3, 60.1), step(4, 61)]

    assert numbers(cut("s", steps, cutting=CUTTING)) == [["E1", "E2"], ["E3", "E4"]]


def test_a_segment_ends_before_it_would_grow_too_long():
    """One that is too long alone stands alone."""
    steps = [step(1, 0, 60), step(2, 1, 40), step(3, 2, 1), step(4, 3, 500), step(5, 4, 5)]

    assert numbers(cut("s", steps, cutting=CUTTING)) == [["E1", "E2"], ["E3"], ["E4"], ["E5"]]


def test_midnight_in_utc_cuts():
    """So that an event's ancestors are those of its own date."""
    steps = [step(1, 11 * 60 + 59), step(2, 12 * 60)]

    assert [segment.period.parent.id for segment in cut("s", steps, cutting=CUTTING)] == ["toc:day:2026-01-30", "toc:day:2026-01-31"]


@given(sessions(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(steps, shuffler):
    """The same events give the same segments, ids included."""
    again = list(steps)
    shuffler.shuffle(again)

    assert cut("s", steps, cutting=CUTTING) == cut("s", again, cutting=CUTTING)


@given(sessions())
def test_every_step_is_in_exactly_one_segment_and_in_order(steps):
    """And no segment breaks a rule."""
    segments = cut("s", steps, cutting=CUTTING)
    laid_out = [one for segment in segments for one in segment.steps]

    assert laid_out == sorted(steps, key=lambda one: (one.occurred_us, one.version))
    for segment in segments:
        assert segment.tokens <= CUTTING.tokens or len(segment.steps) == 1
        assert {day_of(moment(one.occurred_us)) for one in segment.steps} == {segment.period.parent}
        pairs = zip(segment.steps, segment.steps[1:], strict=False)
        assert all(after.occurred_us - before.occurred_us <= CUTTING.silence_us for before, after in pairs)


@given(sessions(), st.integers(0, 4 * 24 * 60))
def test_a_late_event_changes_its_own_day_only(steps, minute):
    """However old that day is."""
    late = step(1000, minute)
    before, after = cut("s", steps, cutting=CUTTING), cut("s", [*steps, late], cutting=CUTTING)
    day = day_of(moment(late.occurred_us))

    assert [one for one in before if one.period.parent != day] == [one for one in after if one.period.parent != day]


@given(sessions())
def test_sessions_never_share_an_id(steps):
    """Nor do segments of one session."""
    ours, theirs = cut("s", steps, cutting=CUTTING), cut("t", steps, cutting=CUTTING)
    ids = [segment.period.id for segment in (*ours, *theirs)]

    assert len(set(ids)) == len(ids)


def test_a_segment_is_quiet_once_nothing_can_join_it():
    """After the silence, or after midnight if that comes first."""
    (noon,) = cut("s", [step(1, 0)], cutting=CUTTING)
    (late,) = cut("s", [step(1, 11 * 60 + 55)], cutting=CUTTING)

    assert not noon.is_quiet(NOON + 30 * MINUTE, cutting=CUTTING)
    assert noon.is_quiet(NOON + 30 * MINUTE + 1, cutting=CUTTING)
    assert late.is_quiet(NOON + 12 * 60 * MINUTE, cutting=CUTTING)
