"""Files of events and documents."""

import io
import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.app import intake

DATED = {"text": "hello", "session_id": "s", "occurred_at": "2026-09-01T08:00:00+02:00"}


def ids(content: str) -> list[str]:
    """The ids that the events of *content* get."""
    return [line.event["event_id"] for line in intake.lines(io.BytesIO(content.encode())) if line.event]


def test_a_dated_line_has_the_same_id_every_time():
    """Ingesting a file again stores nothing twice."""
    content = json.dumps(DATED) + "\n"

    assert ids(content) == ids(content)


def test_twins_in_one_file_are_two_events():
    """Somebody may say "ok" twice within a second."""
    content = (json.dumps(DATED) + "\n") * 2

    assert len(set(ids(content))) == 2
    assert ids(content) == ids(content)


def test_an_undated_line_gets_a_fresh_id():
    """The same words on another day are another event."""
    content = json.dumps({"text": "hello", "session_id": "s"}) + "\n"

    assert ids(content) != ids(content)


def test_an_id_in_the_line_is_kept():
    """The writer's identity is the writer's."""
    assert ids(json.dumps(DATED | {"event_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})) == ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]


@pytest.mark.parametrize("line", ["[1]", "1", '"x"', "{", '{"a": 1}}', "nul", '{"text": NaN}'])
def test_what_is_no_object_is_told_with_its_line(line):
    """The line before and the line after are read all the same."""
    good = json.dumps(DATED)

    found = list(intake.lines(io.BytesIO(f"{good}\n{line}\n{good}\n".encode())))

    assert [one.number for one in found if one.event is None] == [2]
    assert len([one for one in found if one.event]) == 2


def test_an_endless_line_is_skipped_without_being_held(monkeypatch):
    """The next line is found behind it."""
    monkeypatch.setattr(intake, "LINE_BYTES", 200)
    content = b"x" * 1000 + b"\n" + json.dumps(DATED).encode() + b"\n"

    found = list(intake.lines(io.BytesIO(content)))

    assert [(one.number, one.event is None) for one in found] == [(1, True), (2, False)]
    assert found[-1].end == len(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_exception(content):
    """Each line is an event or a reason."""
    for line in intake.lines(io.BytesIO(content)):
        assert (line.event is None) == bool(line.reason)


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    """A picture would be stored as noise."""
    (tmp_path / "a.png").write_bytes(b"x")

    with pytest.raises(click.UsageError):
        intake.sources([str(tmp_path / "a.png")])


def test_a_title_is_the_first_heading():
    """Without one it is the file's name."""
    assert intake.title_of("intro\n# The Title\n", fallback="f") == "The Title"
    assert intake.title_of("intro\n## deeper\n", fallback="f") == "f"
