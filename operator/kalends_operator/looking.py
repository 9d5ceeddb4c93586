"""What came of one look at a resource.

Belongs here: the value that every kind of work gives back. Does not belong here: what is done with it (``reconciling``). A newcomer would
get wrong: ``gone`` says that a resource that is being deleted may go; of any other it is never set.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How a resource stands: its phase; whether its finalizer may go; in how many seconds to look again, None: as usual."""

    phase: str
    gone: bool = False
    again_s: float | None = None
