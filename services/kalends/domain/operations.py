"""Long operations: work that somebody asked for and asks about later.

Belongs here: what is known of one. Does not belong here: keeping, doing or showing it. A newcomer would get wrong: it says how the work
stands and not what is left of it; that is found in whatever the work is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kalends.domain.events import EventId

ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LongOperation:
    """One long operation: ``state`` is queued, running, succeeded, failed or cancelled; ``done`` of ``total`` of whatever it counts.

    ``subject`` says what it is about, such as a projection; ``result`` what came of it. ``memory`` is empty for all memories, ``since`` an
    ISO date or empty; times in microseconds. ``place`` names the data folder that it is about, empty where any process may do it;
    ``arguments`` is what else was asked for, as codes, ids and names of memories; ``revision`` is that of its record.
    """

    operation_id: EventId
    kind: str
    subject: str
    state: str
    created_us: int
    updated_us: int
    tenant: str = ""
    memory: str = ""
    since: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    result: str = ""
    dry_run: bool = False
    place: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.state in ENDED
