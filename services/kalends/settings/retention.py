"""Settings of retention: what holds for memories that say nothing, and how much a run does.

Belongs here: this group of the tree. Does not belong here: when the job runs (``scheduler.retention``). A newcomer would get wrong: a
memory that says anything of its retention, be it nothing but ``{}``, is kept by what it says alone.
"""

from typing import Annotated

from msgspec import Meta, Struct


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long memories keep what they hold, where they do not say so themselves."""

    max_age_days: Annotated[
        int, Meta(ge=0, le=36_500, description="Days that a memory keeps events if it says nothing of its retention; 0: for ever.")
    ] = 0
    episode_days: Annotated[
        int, Meta(ge=0, le=36_500, description="Days that such a memory keeps events of the kind `episode`; 0: as all others.")
    ] = 90
    session_idle_s: Annotated[
        float,
        Meta(gt=0, description="A session of a session-only memory ends once nothing was recorded in it for so long, in seconds."),
    ] = 86_400.0
    batch_events: Annotated[int, Meta(ge=1, le=10_000, description="Events that one erasure of the job takes, at most.")] = 2000
    run_erasures: Annotated[
        int, Meta(ge=1, le=1000, description="Erasures of the job that are under way in one memory at a time, at most.")
    ] = 20
