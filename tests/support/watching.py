"""What a process holds while something goes on: memory, open files and threads, again and again.

Belongs here: taking samples from outside and saying whether they grow. Does not belong here: what goes on meanwhile. A newcomer would get
wrong: a process that was started anew is another process, so samples are compared only within one life.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What process *pid* held *at* so many seconds after the first look; memory in bytes, and how much of it is its own.

    The rest are pages of files (indexes, code), which the system takes back when it needs room.
    """

    at: float
    pid: int
    memory: int
    own: int
    files: int
    threads: int


def sample_of(pid: int, *, at: float) -> Sample | None:
    """What *pid* holds now; None if it is gone."""
    try:
        told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() if ":" in line)
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if "VmRSS" not in told:  # it has ended and nobody asked for its status yet
        return None
    memory, own = (int(told[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return Sample(at=at, pid=pid, memory=memory, own=own, files=files, threads=int(told["Threads"]))


class Watch(threading.Thread):
    """Looks at the process that *pid* says, every *every* seconds, for as long as the block runs."""

    def __init__(self, pid: Callable[[], int], *, every: float) -> None:
        super().__init__(name="watch")
        self.samples: list[Sample] = []
        self._pid = pid
        self._every = every
        self._stop_asked = threading.Event()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop_asked.wait(self._every):
            found = sample_of(self._pid(), at=time.monotonic() - self._began)
            if found is not None:
                self.samples.append(found)

    def last_life(self) -> list[Sample]:
        """The samples of the process that is there now."""
        return [one for one in self.samples if one.pid == self.samples[-1].pid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What was held early and late in a life; its first sixth is for warming up.

    Of memory the medians of the second and of the last sixth. Of files and threads the least of the second and third sixth and of the last
    two, for a rebuild has engines with files and threads of their own, and what is never given back is among the least, too.
    """

    memory: tuple[float, float]
    own: tuple[float, float]
    files: tuple[int, int]
    threads: tuple[int, int]


def growth(samples: Sequence[Sample]) -> Growth:
    """How much more a process holds in the end.

    Raises:
        ValueError: there are fewer than 24 samples, so that a sixth says nothing; or they are of more than one process.
    """
    if len({one.pid for one in samples}) > 1:
        raise ValueError("the samples are of more than one process")
    if len(samples) < 24:
        raise ValueError(f"{len(samples)} samples are too few to tell growth from noise")
    sixth = len(samples) // 6
    early, late = samples[sixth : 2 * sixth], samples[-sixth:]
    middle, end = samples[sixth : 3 * sixth], samples[-2 * sixth :]

    def medians(of: Callable[[Sample], int]) -> tuple[float, float]:
        return statistics.median(map(of, early)), statistics.median(map(of, late))

    return Growth(
        memory=medians(lambda one: one.memory),
        own=medians(lambda one: one.own),
        files=(min(one.files for one in middle), min(one.files for one in end)),
        threads=(min(one.threads for one in middle), min(one.threads for one in end)),
    )


def spread(samples: Sequence[Sample], of: Callable[[Sample], int], *, parts: int = 6) -> str:
    """The least, the median and the most of each part of a life, as ``least/median/most``."""
    size = max(1, len(samples) // parts)
    pieces = [sorted(map(of, samples[start : start + size])) for start in range(0, size * parts, size) if samples[start : start + size]]
    return " ".join(f"{piece[0]}/{piece[len(piece) // 2]}/{piece[-1]}" for piece in pieces)


def curve(samples: Sequence[Sample], *, points: int = 12) -> str:
    """Memory over time, as ``minute:MiB/own MiB``; a bar stands where another process took over."""
    step = max(1, len(samples) // points)
    said, before = [], samples[0].pid if samples else 0
    for one in samples[::step]:
        said.append(f"{'| ' if one.pid != before else ''}{one.at / 60:.1f}:{one.memory / MIB:.0f}/{one.own / MIB:.0f}")
        before = one.pid
    return " ".join(said)
