"""Decisions about jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import schedules
from kalends.domain.errors import Misconfigured
from kalends.domain.schedules import JobSpec, JobState, Outcome

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAILY = JobSpec(name="toc-month", cron="0 30 3 * * *", task="toc-month", timeout_s=60.0)
SWEEP = JobSpec(name="sweep", cron="*/5 * * * * *", task="sweep", timeout_s=60.0, jitter_s=0.5)
TOMORROW = datetime(2026, 3, 2, 3, 30, tzinfo=UTC)
GOOD = Outcome(result="SUCCESS", seconds=1.5)
BAD = Outcome(result="FAILED", seconds=2.5, error="it broke")
FIRST, LAST = datetime(2000, 1, 1), datetime(2060, 1, 1)  # noqa: DTZ001 - hypothesis wants bounds without a zone
MOMENTS = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))


def fresh(spec: JobSpec = DAILY, *, now: datetime = NOW) -> JobState:
    """A job that a leader sees for the first time."""
    return schedules.taken_over(spec, None, now=now, term=1)


def run(spec: JobSpec, state: JobState, outcome: Outcome = GOOD, *, at: datetime, took: float = 1.0) -> JobState:
    """The job after one whole run."""
    begun = schedules.started(spec, state, now=at, run_id="r")
    return schedules.ended(spec, begun, outcome, now=at + timedelta(seconds=took), since=begun.checkpoint)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "A"},
        {"name": "-a"},
        {"name": "a" * 41},
        {"task": "a.b"},
        {"timeout_s": 0},
        {"jitter_s": -1},
        {"cron": "every day"},
        {"cron": "0 0 31 2 *"},
    ],
)
def test_a_job_that_cannot_work_is_refused(changes):
    """With its name, so that whoever set it finds it."""
    with pytest.raises(Misconfigured, match="job "):
        schedules.check(replace(DAILY, **changes), now=NOW)
    schedules.check(DAILY, now=NOW)


def test_a_new_job_waits_for_its_time():
    """It has missed nothing."""
    state = fresh()

    assert state == JobState(name="toc-month", cron=DAILY.cron, next_run_at=TOMORROW, term=1)
    assert not schedules.is_due(state, now=TOMORROW - timedelta(microseconds=1))
    assert schedules.is_due(state, now=TOMORROW)


@given(MOMENTS, st.floats(0.001, 1e6), st.sampled_from(["*/5 * * * * *", "0 30 3 * * *", "0 0 29 2 *", "0 */15 * * * *", "0 0 5 * * SUN"]))
def test_jitter_is_the_same_everywhere_and_never_reaches_the_next_due_time(moment, jitter_s, cron):
    """Or a run would be lost in it."""
    spec = replace(DAILY, cron=cron, jitter_s=jitter_s)
    bare = replace(spec, jitter_s=0.0)
    due = schedules.planned(bare, after=moment)
    put_off = schedules.jitter(spec, due=due)

    assert put_off == schedules.jitter(replace(spec), due=due)
    assert timedelta(0) <= put_off <= timedelta(seconds=jitter_s)
    assert schedules.planned(bare, after=due + put_off) == schedules.planned(bare, after=due)


def test_jobs_of_one_time_do_not_begin_together():
    """That is what jitter is for."""
    specs = [replace(DAILY, name=f"job-{number}", jitter_s=60.0) for number in range(20)]

    assert len({schedules.jitter(spec, due=TOMORROW) for spec in specs}) == 20


def test_a_run_that_began_is_not_begun_again():
    """Its next time is planned meanwhile."""
    state = schedules.started(DAILY, fresh(), now=TOMORROW, run_id="r1")

    assert (state.is_running, state.run_id, state.last_started) == (True, "r1", TOMORROW)
    assert state.next_run_at == TOMORROW + timedelta(days=1)
    assert not schedules.is_due(state, now=TOMORROW + timedelta(days=9))
    assert not schedules.is_due(schedules.asked_for(state), now=TOMORROW)


def test_a_run_that_succeeded_is_counted_and_moves_the_checkpoint_to_its_beginning():
    """Not to its end: what came meanwhile may not have been seen."""
    state = run(DAILY, replace(fresh(), last_error="old", tries=3), at=TOMORROW, took=60.0)

    assert (state.run_count, state.error_count, state.last_result, state.last_error, state.tries) == (1, 0, "SUCCESS", "", 0)
    assert (state.last_run_at, state.last_duration_s) == (TOMORROW + timedelta(seconds=60), 1.5)
    assert state.checkpoint == TOMORROW.isoformat()
    assert not state.is_running


def test_a_run_that_failed_is_counted_and_keeps_the_checkpoint():
    """The next one, at its own time, begins where this one began."""
    state = run(DAILY, replace(fresh(), checkpoint="before"), BAD, at=TOMORROW)

    assert (state.run_count, state.error_count, state.last_result, state.last_error) == (1, 1, "FAILED", "it broke")
    assert (state.checkpoint, state.next_run_at) == ("before", TOMORROW + timedelta(days=1))


def test_a_run_that_was_skipped_counts_as_none():
    """It is said, and tried again soon."""
    before = run(DAILY, fresh(), at=TOMORROW)
    state = run(DAILY, before, Outcome(result="SKIPPED", seconds=0.0, error="busy", again=True), at=TOMORROW + timedelta(days=1), took=0.0)

    assert (state.run_count, state.error_count, state.last_result, state.last_error) == (1, 0, "SKIPPED", "busy")
    assert (state.last_run_at, state.checkpoint) == (before.last_run_at, before.checkpoint)
    assert state.next_run_at == TOMORROW + timedelta(days=1, seconds=5)


def test_what_could_not_be_done_is_tried_again_less_and_less_often():
    """From five seconds to an hour, and never later than its own time; a success forgets it."""
    state, waits = fresh(), []
    for _ in range(15):
        at = state.next_run_at
        state = run(DAILY, state, replace(BAD, again=True), at=at, took=0.0)
        waits.append((state.next_run_at - at).total_seconds())

    assert waits[:5] == [5, 10, 20, 40, 80]
    assert waits[-1] == 3600
    assert run(DAILY, state, at=state.next_run_at).tries == 0
    sweep = run(SWEEP, replace(fresh(SWEEP), tries=9), replace(BAD, again=True), at=NOW, took=0.0)
    assert sweep.next_run_at <= NOW + timedelta(seconds=5.5)


def test_due_times_that_pass_during_a_run_are_left_out():
    """The next one does their work."""
    state = run(SWEEP, fresh(SWEEP), at=NOW, took=62.0)

    assert state.next_run_at - timedelta(seconds=0.5) <= NOW + timedelta(seconds=65) <= state.next_run_at


@pytest.mark.parametrize("away", [timedelta(hours=20), timedelta(days=400)])
def test_missed_runs_become_one(away):
    """However many there were."""
    back = NOW + away
    state = schedules.taken_over(DAILY, fresh(), now=back, term=2, settle_s=1.0)

    assert state.next_run_at == back + timedelta(seconds=1)
    caught_up = run(DAILY, state, at=state.next_run_at)
    assert caught_up.run_count == 1
    assert caught_up.next_run_at == schedules.planned(DAILY, after=back)


def test_a_job_that_does_not_catch_up_waits_for_its_next_time():
    """Some work is of no use afterwards."""
    back = NOW + timedelta(days=3)
    state = schedules.taken_over(replace(DAILY, catch_up=False), fresh(), now=back, term=2)

    assert state.next_run_at == schedules.planned(DAILY, after=back)


def test_a_run_whose_scheduler_ended_is_done_again():
    """Nobody knows what became of it, and every task may be done twice."""
    running = schedules.started(DAILY, fresh(), now=TOMORROW, run_id="r1")
    state = schedules.taken_over(DAILY, running, now=TOMORROW + timedelta(seconds=20), term=2)

    assert not state.is_running
    assert schedules.is_due(state, now=TOMORROW + timedelta(seconds=20))


def test_another_cron_expression_plans_anew():
    """A job that was due in a year must not wait for it when it is made an hourly one."""
    yearly = fresh(replace(DAILY, cron="0 0 0 1 1 *"))
    state = schedules.taken_over(DAILY, yearly, now=NOW, term=2)

    assert (state.cron, state.next_run_at) == (DAILY.cron, TOMORROW)


def test_a_new_leader_changes_nothing_else():
    """Counters, the last result and the checkpoint are those of the job, not of a process."""
    known = replace(run(DAILY, fresh(), BAD, at=TOMORROW), checkpoint="c", wanted=3, granted=3)

    assert schedules.taken_over(DAILY, known, now=TOMORROW, term=7) == replace(known, term=7)


def test_a_paused_job_runs_only_when_somebody_asks():
    """Also after any time away, and under a new leader."""
    state = schedules.taken_over(DAILY, schedules.paused(fresh()), now=NOW + timedelta(days=30), term=2)

    assert (state.is_paused, state.next_run_at) == (True, None)
    assert not schedules.is_due(state, now=NOW + timedelta(days=60))
    asked = schedules.asked_for(state)
    assert schedules.is_due(asked, now=NOW)
    done = run(DAILY, asked, at=NOW)
    assert (done.next_run_at, done.run_count) == (None, 1)
    assert not schedules.is_due(done, now=NOW + timedelta(days=60))


def test_a_failed_run_of_a_paused_job_is_not_tried_again():
    """Pausing is how people stop that."""
    asked = schedules.asked_for(schedules.paused(fresh()))

    assert run(DAILY, asked, replace(BAD, again=True), at=NOW).next_run_at is None


def test_a_resumed_job_waits_for_its_next_time():
    """What was left out on purpose is not made up for; resuming what runs changes nothing."""
    later = NOW + timedelta(days=30)
    state = schedules.resumed(DAILY, schedules.paused(fresh()), now=later)

    assert (state.is_paused, state.next_run_at) == (False, schedules.planned(DAILY, after=later))
    assert schedules.resumed(DAILY, fresh(), now=later) == fresh()


def test_one_run_serves_all_who_asked_before_it_began():
    """Who asks while it is under way gets another one."""
    begun = schedules.started(DAILY, schedules.asked_for(schedules.asked_for(fresh())), now=NOW, run_id="r1")
    done = schedules.ended(DAILY, begun, GOOD, now=NOW, since="")
    late = schedules.ended(DAILY, schedules.asked_for(begun), GOOD, now=NOW, since="")

    assert not schedules.is_due(done, now=NOW)
    assert schedules.is_due(late, now=NOW)


def test_a_checkpoint_that_is_reset_during_a_run_stays_reset():
    """The run under way had begun at the old one."""
    begun = schedules.started(DAILY, replace(fresh(), checkpoint="old"), now=NOW, run_id="r1")
    stored = schedules.checkpoint_reset(begun)
    heeded = schedules.heeded(DAILY, begun, stored, now=NOW)

    assert (stored.checkpoint, heeded.checkpoint, heeded.resets_done) == ("", "", 1)
    assert schedules.ended(DAILY, heeded, GOOD, now=NOW, since="old").checkpoint == ""


def test_the_leader_heeds_what_people_changed_and_keeps_its_own():
    """What is stored may be half a minute behind in everything that the leader writes."""
    mine = replace(fresh(), run_count=9, checkpoint="new", granted=1, wanted=1, resets_done=1, resets=1)
    stored = replace(fresh(), run_count=3, checkpoint="old", wanted=2, granted=0, resets=1, resets_done=0)

    assert schedules.heeded(DAILY, mine, stored, now=NOW) == replace(mine, wanted=2)
    paused = schedules.heeded(DAILY, mine, schedules.paused(stored), now=NOW)
    assert (paused.is_paused, paused.next_run_at, paused.run_count) == (True, None, 9)
    resumed = schedules.heeded(DAILY, paused, stored, now=NOW)
    assert (resumed.is_paused, resumed.next_run_at) == (False, TOMORROW)


@given(MOMENTS, st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=800)))
def test_a_clock_that_goes_on_realigns_nothing(moment, passed):
    """Neither a due time that has come nor one that is to come."""
    for spec in (DAILY, SWEEP, replace(DAILY, jitter_s=600.0)):
        for state in (fresh(spec, now=moment), run(spec, fresh(spec, now=moment), at=moment)):
            assert schedules.realigned(spec, state, now=moment + passed) == state


def test_a_clock_that_was_set_back_silences_no_job():
    """Or a sweep would wait as long as the clock was ahead."""
    ahead = run(SWEEP, fresh(SWEEP), at=NOW + timedelta(hours=3))
    state = schedules.realigned(SWEEP, ahead, now=NOW)

    assert NOW < state.next_run_at <= NOW + timedelta(seconds=5.5)
    assert schedules.realigned(DAILY, schedules.paused(fresh()), now=NOW - timedelta(days=900)).next_run_at is None


def test_a_clock_that_is_corrected_a_little_does_not_run_a_job_twice():
    """A daily job that began on time, by a clock that was a second ahead."""
    state = run(DAILY, fresh(), at=TOMORROW)

    assert schedules.realigned(DAILY, state, now=TOMORROW - timedelta(seconds=1)) == state


def test_an_expression_that_names_no_moment_any_more_is_never_due():
    """Nor an error."""
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert schedules.planned(DAILY, after=end) is None
    assert not schedules.is_frequent(SWEEP, now=end)
    assert schedules.ended(DAILY, schedules.started(DAILY, fresh(), now=end, run_id="r"), GOOD, now=end, since="").next_run_at is None


def test_only_what_runs_more_than_once_a_minute_is_frequent():
    """A job of each minute is written after each run."""
    assert schedules.is_frequent(SWEEP, now=NOW)
    assert not schedules.is_frequent(replace(DAILY, cron="* * * * *"), now=NOW)


def test_news_is_what_somebody_may_wait_for():
    """A run like the one before is none; another result, a pause or a term is."""
    state = run(SWEEP, fresh(SWEEP), at=NOW)
    next_one = run(SWEEP, state, at=NOW + timedelta(seconds=5))

    assert not schedules.is_news(state, next_one)
    assert schedules.is_news(state, run(SWEEP, state, BAD, at=NOW))
    assert schedules.is_news(state, schedules.paused(state))
    assert schedules.is_news(state, replace(state, term=9))
    assert schedules.is_news(state, schedules.asked_for(state))


def test_the_end_of_a_run_that_is_stored_as_under_way_is_news():
    """Or whoever reads the store would see it under way until the next time it is written, which is in the next run."""
    rest = run(SWEEP, fresh(SWEEP), at=NOW)
    begun = schedules.started(SWEEP, rest, now=NOW + timedelta(seconds=5), run_id="r")
    over = schedules.ended(SWEEP, begun, GOOD, now=NOW + timedelta(seconds=6), since="")

    assert not schedules.is_news(rest, begun)
    assert schedules.is_news(begun, over)
