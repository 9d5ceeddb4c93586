"""The report: rows of figures with what they are compared to.

Belongs here: percentiles, rows, aims and printing. Does not belong here: measuring. A newcomer would get wrong: an aim is for two quiet
cores; on a busy machine a missed one says nothing, so the machine's state is printed beside the figures.
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One figure. ``aim`` with ``at_most`` or at least; ``reference`` is the same figure without Kalends, in the same run."""

    section: str
    name: str
    value: float
    unit: str
    aim: float | None = None
    at_most: bool = False
    reference: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the aim was met, in a word."""
        if self.aim is None:
            return ""
        met = self.value <= self.aim if self.at_most else self.value >= self.aim
        return "met" if met else "MISSED"


class Report:
    """Rows as they come; each is printed at once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._section = ""

    def add(self, row: Row) -> None:
        """Keep *row* and print it."""
        self.rows.append(row)
        if row.section != self._section:
            self._section = row.section
            self.say(f"\n{row.section}")
        aim = "" if row.aim is None else f"aim {'<=' if row.at_most else '>='} {number(row.aim)} {row.verdict}"
        ratio = f"{row.value / row.reference:.2f}x of {number(row.reference)}" if row.reference else ""
        self.say(f"  {row.name:54} {number(row.value):>10} {row.unit:9} {aim:24} {ratio:20} {row.note}".rstrip())

    def say(self, text: str) -> None:
        """A line that is no figure."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def number(value: float) -> str:
    """*value* with as many digits as one reads."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lie (nearest rank); not a number if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def machine() -> str:
    """What the figures were taken on, and how busy it was."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) / (1 << 20)
    cores = len(os.sched_getaffinity(0))
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    return (
        f"{cores} cores of {model}, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}; load before: {load}"
    )
