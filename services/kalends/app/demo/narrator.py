"""How the story is told: scenes, remarks, hits, checks.

Belongs here: what a reader sees, on a terminal of 80 columns or in a pipe. Does not belong here: what happens (``story``). A newcomer would
get wrong: a failed check does not stop the story; it is told, counted and turned into the exit code.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from kalends.app.moments import shown
from kalends.app.output import harmless
from kalends.client import Event, Hit

WIDTH = 100
SHOWN_TEXT = 220
"""Characters of an event that are told; a story is no listing."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, and whether it was true."""

    sentence: str
    holds: bool


class Scene(msgspec.Struct, kw_only=True):
    """One scene for the record: how long it took, and its checks in order."""

    title: str
    seconds: float = 0.0
    checks: list[Check] = []


class Narrator:
    """Tells scenes on a console and remembers what was checked."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.scenes: list[Scene] = []
        console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH

    @property
    def failed(self) -> list[str]:
        """Sentences that did not hold."""
        return [check.sentence for scene in self.scenes for check in scene.checks if not check.holds]

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """Everything told inside belongs to *title*."""
        scene = Scene(title=title)
        self.scenes.append(scene)
        self.console.print()
        self.console.print(Rule(Text(f"{len(self.scenes)}. {title}", style="bold"), align="left", characters="─"))
        started = time.monotonic()
        try:
            yield
        finally:
            scene.seconds = round(time.monotonic() - started, 2)

    def say(self, text: str) -> None:
        """A remark."""
        self.console.print(Text(text))

    def command(self, text: str) -> None:
        """What one would type to do the same."""
        self.console.print(Text(f"$ kalends {text}", style="bold cyan"), soft_wrap=True)

    def check(self, sentence: str, *, holds: bool) -> None:
        """A claim, and whether it is true."""
        self.scenes[-1].checks.append(Check(sentence=sentence, holds=holds))
        mark = Text("✓ ", style="bold green") if holds else Text("✗ WRONG: ", style="bold red")
        self.console.print(Text.assemble(mark, harmless(sentence)))

    def hits(self, hits: Iterable[Hit], *, most: int = 3) -> None:
        """The first few hits."""
        for place, hit in enumerate(list(hits)[:most], start=1):
            self._entry(f"{place}.", when=shown(hit.occurred_at), who=hit.actor or hit.role, session=hit.session_id, text=hit.text)

    def event(self, event: Event, *, found: bool = False) -> None:
        """An event; the *found* one stands out among its neighbours."""
        mark = "▶" if found else " "
        self._entry(mark, when=shown(event.occurred_at), who=event.actor or event.role, session="", text=event.text, strong=found)

    def _entry(self, mark: str, *, when: str, who: str, session: str, text: str, strong: bool = False) -> None:
        brief = text if len(text) <= SHOWN_TEXT else text[: SHOWN_TEXT - 1] + "…"
        head = Text.assemble((f"  {mark:<3}", "bold"), (when, "cyan"), "  ", (harmless(who), "green"), (f"  {harmless(session)}", "dim"))
        self.console.print(head)
        self.console.print(Padding(Text(harmless(" ".join(brief.split())), style="bold" if strong else ""), (0, 0, 0, 5)))
