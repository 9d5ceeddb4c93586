"""Settings of backups: where they are, how long they are kept, and how fast they are made.

Belongs here: this group of the tree. Does not belong here: when one is made by itself (``scheduler.backup``). A newcomer would get wrong:
what was erased is out of reach in backups once the keys that they hold are gone, so ``keys_days`` is how long an erasure takes to reach
them; and a backup whose keys are gone can only be restored with those of a later one, or of the installation itself.
"""

from typing import Annotated

from msgspec import Meta, Struct


class BackupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Backups."""

    folder: Annotated[str, Meta(description="Folder of the backups, best on another disk; empty: `backups` in the data folder.")] = ""
    days: Annotated[int, Meta(ge=1, le=36_500, description="Days that a backup is kept; what builds on another ends with it.")] = 30
    keys_days: Annotated[int, Meta(ge=1, le=36_500, description="Days that a backup keeps its data keys, at most as long as itself.")] = 30
    keep: Annotated[
        int, Meta(ge=0, le=10_000, description="Backups that are kept of the same thing, the newest; 0: all until their days are over.")
    ] = 0
    full_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which the scheduled job makes a backup that builds on no other.")
    ] = 7
    rate_mib_s: Annotated[
        float, Meta(ge=0, description="How fast a backup is written at most, in MiB per second; 0: as fast as it goes.")
    ] = 0.0
    look_s: Annotated[float, Meta(gt=0, description="How often backups whose time is over are looked for, in seconds.")] = 3600.0
    erase_wait_s: Annotated[
        float, Meta(gt=0, description="How long a restore in place waits for one erasure before it says that it waits, in seconds.")
    ] = 600.0
