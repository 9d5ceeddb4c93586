"""What commands print: JSON for programs, tables and blocks for people.

Belongs here: consoles, tables, progress, making foreign text harmless. Does not belong here: what is printed (``commands``). A newcomer
would get wrong: text from a memory may hold terminal control sequences, written by whoever wrote the event; it is shown, never obeyed.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_KEPT = {"\n", "\t"}


def harmless(text: str) -> str:
    """*text* without anything a terminal would obey: control characters become a visible mark."""
    if text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in {"Cc", "Cf", "Cs"} or c in "\u200c\u200d" else "\ufffd" for c in text)


class Output:
    """Standard output for results, standard error for progress."""

    def __init__(self, *, machine_readable: bool) -> None:
        self.machine_readable = machine_readable
        self.people = Console(highlight=False, soft_wrap=False)
        self.aside = Console(stderr=True, highlight=False)

    def give(self, value: Any, show: Callable[[Console], None]) -> None:
        """Print *value* as one line of JSON, or let *show* print it for people."""
        if self.machine_readable:
            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            sys.stdout.flush()
        else:
            show(self.people)

    def give_each(self, values: Iterable[Any], show: Callable[[Console, Any], None]) -> None:
        """Print each of *values* as it comes: one line of JSON each, or as *show* does."""
        for value in values:
            if self.machine_readable:
                sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            else:
                show(self.people, value)

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table for people."""
        self.people.print(table(titles, rows))

    @contextmanager
    def progress(self, title: str, *, total: int | None) -> Iterator[Callable[[int, int | None], None]]:
        """A bar on standard error if that is a terminal; call what it gives with (done, total)."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.aside, transient=True, disable=not self.aside.is_terminal) as bars:
            task: TaskID = bars.add_task(title, total=total)

            def advance(done: int, of: int | None) -> None:
                bars.update(task, completed=done, total=of)

            yield advance


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; a title that starts with ``>`` is of numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for place, title in enumerate(titles):
        # the first column names the row: a name that is cut in two cannot be copied
        justify: Literal["left", "right"] = "right" if title.startswith(">") else "left"
        made.add_column(title.removeprefix(">"), justify=justify, overflow="fold", no_wrap=place == 0)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def state(word: str) -> Text:
    """A state in its colour."""
    good, fair = {"up", "ok", "ready", "succeeded"}, {"degraded", "warning", "running", "queued", "starting"}
    return Text(word, style="green" if word in good else "yellow" if word in fair else "red")


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    return Text("" if value is None else harmless(str(value)))
