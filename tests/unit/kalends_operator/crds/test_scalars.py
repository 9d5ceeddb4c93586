"""The texts that the API server admits are those that Kalends takes."""

import re
import typing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Invalid
from kalends.domain.events import canonical_id
from kalends.domain.labels import is_label
from kalends.domain.scope import memory_name
from kalends.kit import cron
from kalends_operator.crds import erasures, scalars

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ULID = "01JD3Q4Z7W1M9V5E8KX2T6R0AB"

NO_IDS = ["", "first", ULID[:-1], ULID + "0", "8" + ULID[1:], ULID.replace("J", "U"), "é" * 26]
NO_SCHEDULES = ["", "@daily", "0 3 * *", "0 0 3 * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8", "*/0 * * * *"]


def pattern(type_: object) -> re.Pattern[str]:
    """The expression of a scalar's rule."""
    meta = typing.get_args(type_)[-1]
    found = re.fullmatch(r"self\.matches\(r'\^(.*)\$'\)", meta.extra["rules"][0].cel)
    assert found is not None
    return re.compile(found.group(1), re.ASCII)


MEMORY, SCHEDULE = pattern(scalars.MemoryName), pattern(scalars.Schedule)
EVENT_ID, LABEL = pattern(erasures.EventId), pattern(erasures.Label)


def taken(check: typing.Callable[[str], object], text: str) -> bool:
    """Whether the domain takes a text."""
    try:
        check(text)
    except Invalid:
        return False
    return True


@given(st.from_regex(MEMORY, fullmatch=True) | st.text(alphabet="aZ09-_. \n", max_size=45))
def test_a_memory_has_the_same_names_in_both(text):
    """What the one admits the other takes, and the other way round."""
    assert (MEMORY.fullmatch(text) is not None) == taken(memory_name, text)


@given(st.from_regex(EVENT_ID, fullmatch=True) | st.sampled_from(NO_IDS))
def test_an_event_has_the_same_ids_in_both(text):
    """ULIDs and UUIDs, in either case."""
    assert (EVENT_ID.fullmatch(text) is not None) == taken(canonical_id, text)


@given(st.from_regex(LABEL, fullmatch=True) | st.text(alphabet="aZ09-_. \n", max_size=66))
def test_a_label_is_one_in_both(text):
    """So that an erasure by label names one that there can be."""
    assert (LABEL.fullmatch(text) is not None) == is_label(text)


@given(st.from_regex(SCHEDULE, fullmatch=True))
def test_a_schedule_is_one_for_cron(text):
    """But for a range that ends before it begins and a day that never comes, which no pattern can tell; the operator says so then."""
    try:
        following = cron.next_after(text, NOW)
    except ValueError as error:
        refused = "names no moment" not in str(error)
    else:
        refused = following <= NOW

    assert not refused or "-" in text


@pytest.mark.parametrize("text", ["0 3 * * *", "*/15 0-6,22 1,L */2 MON-FRI", "5 4 31 DEC 7", "0 0 1-15/2 JAN,JUL *"])
def test_what_people_write_is_a_schedule(text):
    """Lists, ranges, steps and names, and the last day of the month."""
    assert SCHEDULE.fullmatch(text)
    assert cron.next_after(text, NOW) > NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@daily",
        "0 3 * *",
        "0 0 3 * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "*/0 * * * *",
        "0  3 * * *",
    ],
)
def test_what_is_no_schedule_is_refused(text):
    """Four fields, six, words, and numbers that are out of bounds."""
    assert SCHEDULE.fullmatch(text) is None
