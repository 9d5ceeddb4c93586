"""The command that forgets: what it refuses before anything is sent, and how long a duration is."""

import click
import pytest

from kalends.app.cli import USAGE, run
from kalends.app.commands.forgetting import Duration


@pytest.mark.parametrize(
    "arguments",
    [
        ["--yes"],
        ["--session", "s", "--actor", "a", "--yes"],
        ["--from", "2026-01-01", "--everything", "--yes"],
        ["--meta", "no-value", "--yes"],
        ["--session", "s", "--undo-for", "soon", "--yes"],
    ],
    ids=" ".join,
)
def test_exactly_one_thing_must_be_named(arguments, capsys):
    """Anything else is a mistake that must not be guessed at."""
    assert run(["forget", *arguments]) == USAGE
    assert capsys.readouterr().out == ""


def test_whoever_is_not_asked_must_say_yes(capsys):
    """A script that forgot it forgets nothing."""
    assert run(["forget", "--everything"]) == USAGE
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)])
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    """In whole seconds."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1w"])
def test_what_is_no_duration_is_refused(text):
    """Rather than taken for seconds."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_what_is_no_receipt_is_told_so(tmp_path, capsys):
    """And nothing is asked of any server."""
    path = tmp_path / "receipt"
    path.write_text("{}", encoding="utf-8")

    assert run(["forget", "--verify", str(path)]) == 1
    assert "not a receipt" in capsys.readouterr().err
