"""What people are told of retention on a terminal."""

import io

import pytest
from rich.console import Console

from kalends.app.cli import USAGE, run
from kalends.app.commands.memories import _retention
from kalends.app.commands.retention import _show
from kalends.client import Retained, RetentionRun


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (None, []),
        ({}, ["everything is kept"]),
        ({"max_age_days": 365, "max_events": 10, "kinds": {"note": {"max_events": 5}}}, ["all: days 365 and events 10", "note: events 5"]),
        ({"max_age_days": None, "pinned_kinds": ["preference"], "session_only": True}, ["kept: preference", "each session until it ends"]),
    ],
)
def test_a_memorys_rules_are_told_line_by_line(said, lines):
    """Nothing where it says nothing."""
    assert _retention(said) == lines


def test_what_is_due_is_told_by_memory_and_reason():
    """A dry run says first that nothing was done."""
    console = Console(width=200, file=io.StringIO())
    _show(console, RetentionRun(items=[Retained(memory="notes", age=12, held=34, more=True)], dry_run=True))
    _show(console, RetentionRun(items=[]))

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.startswith("nothing was done (dry run)")
    assert "nothing is due" in text
    assert {"notes", "12", "34", "yes"} <= set(text.split())


def test_a_session_must_be_named(capsys):
    """There is none to be ended by default."""
    assert run(["session", "end"]) == USAGE
    assert "SESSION" in capsys.readouterr().err
