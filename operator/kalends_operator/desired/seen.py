"""What was seen of the world: frozen values that planners compare with a spec.

Belongs here: what planners need to know of memories, credentials, Secrets, erasures and backups. Does not belong here: looking
(``reconciling``). A newcomer would get wrong: no secret is in here; a Secret is its ids and whether it is as it was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMemory:
    """A memory as Kalends tells of it; counts of None are not known. ``lag`` is in (events, seconds) by projection."""

    isolation: str
    description: str = ""
    quota: Mapping[str, int] = field(default_factory=dict)
    redaction: Mapping[str, Any] = field(default_factory=dict)
    retention: Mapping[str, Any] | None = None
    owner: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    log_bytes: int | None = None
    lag: Mapping[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenToken:
    """A token with our label."""

    token_id: str
    role: str | None
    memories: tuple[str, ...] | None
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAgent:
    """An agent with our label."""

    agent_id: str
    role: str | None
    memories: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSecret:
    """The Secret of the name that ours has.

    ``ours``: its owner is the resource. ``intact``: as the operator wrote it. ``current``: also what it says besides credentials is what it
    should say. ``rotate_seen``: the wish to rotate that was met last.
    """

    ours: bool
    intact: bool = False
    current: bool = False
    token_id: str = ""
    agent_id: str = ""
    public_key: str = ""
    previous_tokens: tuple[str, ...] = ()
    previous_agents: tuple[str, ...] = ()
    previous_until: datetime | None = None
    rotated_at: datetime | None = None
    rotate_seen: str = ""

    @property
    def opens(self) -> bool:
        """Whether it holds credentials."""
        return bool(self.token_id and self.agent_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenErasure:
    """An erasure: ``state`` is that of Kalends, or ``absent``: there was nothing to be erased.

    ``waiting`` on a second person: ``approval_id`` and how it stands. ``held``: why it may not be, in Kalends' words.
    """

    erasure_id: str = ""
    state: str = ""
    approval_id: str = ""
    approval_state: str = ""
    held: str = ""
    times: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    receipt: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBackup:
    """A backup, or whatever long work: ``state`` is queued, running, succeeded, failed or cancelled."""

    operation_id: str
    state: str
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in {"queued", "running"}
