"""Which slot of memories is in which stream of events, which memory has a stream of its own, and how a log that gets more streams shares.

Belongs here: the layout as a value, what the broker's own configurations say of it, and the plan of the next step; nothing here waits. Does
not belong here: asking or changing the broker (``widening``). A newcomer would get wrong: a slot only ever moves to a stream of a greater
epoch, and only one that never had slots receives any; so the versions of a memory grow for ever, whatever its sequences do. A dedicated
memory's stream has no slots and takes part in none of this: nothing ever moves into it or out of it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kalends.domain.positions import OWN, memory_of
from kalends.domain.scope import SLOTS, Scope, token

PREFIX = "EVENTS_"
ALL = "ev.v1.u.>"
EPOCH = "kalends-epoch"
AFTER = "kalends-after"
_OWN = re.compile(f"{OWN}[A-Z2-7]{{26}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One stream of events: its slots, its epoch, and what its memories have elsewhere.

    ``after`` says, per stream that gave it slots, the sequence up to which their earlier messages are there. Without slots it waits for
    its first ones, unless it is that of the dedicated memory whose key is ``memory``.
    """

    name: str
    epoch: int = 0
    slots: frozenset[int] = frozenset()
    after: Mapping[str, int] = field(default_factory=dict)
    memory: str = ""

    @property
    def number(self) -> int:
        """The number in its name; a dedicated memory's has none."""
        return number_of(self.name)


class Layout:
    """All streams of events: the ``shared`` ones by number, then those of dedicated memories by name.

    Where two claim a slot, because they were asked one after the other, the newer one has it.
    """

    def __init__(self, streams: Iterable[Placed] = ()) -> None:
        found = tuple(streams)
        own = sorted((one for one in found if one.memory), key=lambda one: one.name)
        self.shared: tuple[Placed, ...] = tuple(sorted((one for one in found if not one.memory), key=lambda one: one.number))
        # a consumer is taken for dropped if the first of these does not have it, and the first shared stream has them all
        self.streams: tuple[Placed, ...] = (*self.shared, *own)
        self.dedicated = frozenset(one.memory for one in own)
        self.epochs: Mapping[str, int] = {one.name: one.epoch for one in self.streams}
        owners: list[str | None] = [None] * SLOTS
        for one in sorted(self.shared, key=lambda one: (one.epoch, one.number)):
            for slot in one.slots:
                owners[slot] = one.name
        self._owners = tuple(owners)
        held: dict[str, set[int]] = {}
        for slot, owner in enumerate(owners):
            if owner is not None:
                held.setdefault(owner, set()).add(slot)
        self._held = {name: frozenset(slots) for name, slots in held.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all streams, also of those that wait for their first slots."""
        return tuple(one.name for one in self.streams)

    @property
    def holes(self) -> frozenset[int]:
        """Slots that no stream has: somebody is moving them, or died while doing so."""
        return frozenset(slot for slot, owner in enumerate(self._owners) if owner is None)

    @property
    def left_behind(self) -> dict[str, int]:
        """Per stream that gave slots away, the sequence up to which their messages are there."""
        found: dict[str, int] = {}
        for one in self.shared:
            for stream, end in one.after.items():
                found[stream] = max(end, found.get(stream, 0))
        return found

    def stream_of(self, slot: int) -> str | None:
        """The stream that takes the messages of *slot*; None while nobody does."""
        return self._owners[slot]

    def slots_of(self, name: str) -> frozenset[int]:
        """The slots of the stream *name*."""
        return self._held.get(name, frozenset())

    def __eq__(self, other: object) -> bool:
        """Two layouts are one if their streams are."""
        return isinstance(other, Layout) and self.streams == other.streams

    def __hash__(self) -> int:
        """Of the names and epochs."""
        return hash(tuple(self.epochs.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next change: the stream *name* receives *slots*, some of which nobody has and the others of which *givers* have until then.

    ``givers`` says which slots each of them keeps; ``exists`` whether the stream is there already and waits.
    """

    name: str
    epoch: int
    slots: frozenset[int]
    givers: Mapping[str, frozenset[int]]
    exists: bool


def next_step(layout: Layout, *, partitions: int) -> Step | None:
    """What to do next towards *partitions* streams that share all slots evenly; None if that is so, or there are more of them already.

    Slots without a stream are given one, whatever *partitions* says.
    """
    serving = [one.name for one in layout.shared if layout.slots_of(one.name)]
    holes = sorted(layout.holes)
    missing = max(partitions - len(serving), 1 if holes else 0)
    if missing == 0:
        return None
    released: list[tuple[int, str]] = []
    if partitions > len(serving):
        kept = _kept({name: layout.slots_of(name) for name in serving}, final=partitions)
        released = [(slot, name) for name in serving for slot in sorted(layout.slots_of(name) - kept[name])]
    share = -(-(len(holes) + len(released)) // missing)
    taken = released[: max(0, share - len(holes))]
    givers: dict[str, frozenset[int]] = {}
    for slot, name in taken:
        givers[name] = givers.get(name, layout.slots_of(name)) - {slot}
    waiting = next((one for one in layout.shared if not one.slots), None)
    newest = max((one.epoch for one in layout.shared if one.slots), default=-1)
    number = 1 + max((one.number for one in layout.shared), default=-1)
    return Step(
        name=waiting.name if waiting else f"{PREFIX}{number}",
        epoch=max(newest + 1, waiting.epoch if waiting else 0),
        slots=frozenset([*holes[:share], *(slot for slot, _ in taken)]),
        givers=givers,
        exists=waiting is not None,
    )


def _kept(held: Mapping[str, frozenset[int]], *, final: int) -> dict[str, frozenset[int]]:
    """What each stream keeps when *final* streams share all slots: its lowest ones, and all if it has no more than its share."""
    left, sharers = SLOTS, final
    rest: list[str] = []
    for name in sorted(held, key=lambda name: len(held[name])):
        if not rest and len(held[name]) * sharers <= left:
            left, sharers = left - len(held[name]), sharers - 1
        else:
            rest.append(name)
    low, extra = divmod(left, max(sharers, 1))
    # who has one more than the others already keeps it, so that a plan that was interrupted goes on as it began
    rest.sort(key=lambda name: (len(held[name]) != low + 1, -len(held[name]), number_of(name)))
    share = dict.fromkeys(held, SLOTS) | {name: low + (place < extra) for place, name in enumerate(rest)}
    return {name: frozenset(sorted(slots)[: share[name]]) for name, slots in held.items()}


def number_of(name: str) -> int:
    """The number in the name of a stream of events that memories share."""
    return int(name.removeprefix(PREFIX))


def is_of_events(name: str) -> bool:
    """Whether *name* is that of a stream of events, shared or not."""
    return (name.startswith(PREFIX) and name.removeprefix(PREFIX).isdigit()) or is_own(name)


def is_own(name: str) -> bool:
    """Whether *name* is that of a dedicated memory's stream."""
    return _OWN.fullmatch(name) is not None


def own_subject(scope: Scope) -> str:
    """The subject of the events of a dedicated memory, which no stream that memories share takes."""
    return f"ev.v1.s.{token(scope.tenant)}.{token(scope.memory)}"


def subjects_of(name: str, slots: frozenset[int]) -> list[str]:
    """The subjects of a stream with *slots*. Without any it has one that nobody sends to: to the broker, none would mean its own name."""
    if not slots:
        return [f"ev.v1.n.{number_of(name)}"]
    return [ALL] if len(slots) == SLOTS else [f"ev.v1.u.{slot}.>" for slot in sorted(slots)]


def subject_of_slot(slot: int) -> str:
    """What the messages of *slot* are sent to, as a pattern."""
    return f"ev.v1.u.{slot}.>"


def slots_in(subjects: Sequence[str]) -> frozenset[int]:
    """The slots that *subjects* are of."""
    if ALL in subjects:
        return frozenset(range(SLOTS))
    tokens = (subject.split(".") for subject in subjects)
    return frozenset(int(parts[3]) for parts in tokens if parts[:3] == ["ev", "v1", "u"])


def placed(config: Mapping[str, object]) -> Placed:
    """What the broker's configuration of a stream of events says."""
    metadata, subjects = config.get("metadata"), config.get("subjects")
    noted: Mapping[str, str] = metadata if isinstance(metadata, dict) else {}
    name = str(config["name"])
    if is_own(name):
        return Placed(name=name, memory=memory_of(name))
    return Placed(
        name=name,
        epoch=int(noted.get(EPOCH, 0)),
        slots=slots_in(subjects if isinstance(subjects, list) else []),
        after={str(stream): int(sequence) for stream, sequence in json.loads(noted.get(AFTER, "{}")).items()},
    )


def metadata_of(epoch: int, after: Mapping[str, int]) -> dict[str, str]:
    """What ``placed`` reads, to be kept in a stream's configuration; nothing for the first stream of a log."""
    noted = {EPOCH: str(epoch)} if epoch else {}
    return noted | ({AFTER: json.dumps(dict(sorted(after.items())))} if after else {})
