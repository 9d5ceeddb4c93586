"""The steps of plans: what can be done, as values.

Belongs here: one value for each act, with all that it needs to know. Does not belong here: doing it (``reconciling``). A newcomer would get
wrong: a step that makes a secret (``IssueToken``, ``RotateToken``, ``RegisterAgent``) only has it at hand until the ``WriteSecret`` after
it; if that is not reached, the next plan revokes what was made and makes another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMemory:
    """Make the memory as the spec wants it."""

    memory: str
    isolation: str
    wanted: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMemory:
    """Set what differs; *changes* holds whole members."""

    memory: str
    changes: Mapping[str, Any]
    by_hand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueToken:
    """Make a token for the one memory."""

    memory: str
    role: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateToken:
    """Make a successor; the old one ends after *overlap_s* seconds."""

    token_id: str
    overlap_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterAgent:
    """Make a key and let its holder be an agent of the one memory."""

    memory: str
    role: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """End a token; *stray*: it belongs to a try that was cut off."""

    token_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAgent:
    """End an agent."""

    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSecret:
    """Write the Secret. *fresh*: with the token and the key that were just made; else with those it has, if *credentials*, or with none.

    The *previous* ids are revoked after *previous_until*.
    """

    fresh: bool
    credentials: bool = True
    previous_tokens: tuple[str, ...] = ()
    previous_agents: tuple[str, ...] = ()
    previous_until: datetime | None = None
    rotated_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSecret:
    """Take our Secret away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Give the memory to somebody; *reason* is a code."""

    memory: str
    to: str
    reason: str = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartErasure:
    """Ask for an erasure, once for each *key*; *options* None: of the memory itself."""

    memory: str
    key: str
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitErasure:
    """Look again later; nothing is to be done."""

    erasure_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartBackup:
    """Ask for a backup, once for each *key*."""

    memory: str | None
    key: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitBackup:
    """Look again later; nothing is to be done."""

    operation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFinalizer:
    """Nothing is left to be done: the resource may go."""


Step = (
    CreateMemory
    | ChangeMemory
    | IssueToken
    | RotateToken
    | RegisterAgent
    | RevokeToken
    | RevokeAgent
    | WriteSecret
    | DeleteSecret
    | HandOver
    | StartErasure
    | AwaitErasure
    | StartBackup
    | AwaitBackup
    | RemoveFinalizer
)

WAITS = (AwaitErasure, AwaitBackup, RemoveFinalizer)
"""Steps that change nothing; a plan that has only these is a fixed point."""
