"""What an examination finds.

Belongs here: the value that every check gives. Does not belong here: checks (``doctor``, ``doctor_servers``).
"""

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found: ``state`` is ok, degraded or failed."""

    name: str
    state: str
    detail: str
    next_step: str = ""
