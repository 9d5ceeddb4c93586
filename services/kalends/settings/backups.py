"""Settings of backups, of the archive of the log, and of the buckets that either may be in.

Belongs here: these groups of the tree. Does not belong here: when one is made by itself (``scheduler.backup``). A newcomer would get wrong:
what was erased is out of reach in backups once the keys that they hold are gone, so ``keys_days`` is how long an erasure takes to reach
them; and a backup whose keys are gone can only be restored with those of a later one, or of the installation itself.
"""

from typing import Annotated

from msgspec import Meta, Struct


class BackupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Backups."""

    folder: Annotated[str, Meta(description="Folder of the backups, best on another disk; empty: `backups` in the data folder.")] = ""
    store: Annotated[
        str, Meta(description="Place of the backups instead of a folder: file:///folder or s3://bucket/prefix; empty: backup.folder.")
    ] = ""
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
    drill_folder: Annotated[
        str, Meta(description="Folder in which restore drills make an installation and remove it; empty: `drill` in the data folder.")
    ] = ""


class ArchiveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The archive of the log: a copy that only grows, whose links name the digest of the one before."""

    store: Annotated[
        str, Meta(description="Place of the archive of the log: file:///folder or s3://bucket/prefix; empty: the log is not archived.")
    ] = ""
    every_s: Annotated[float, Meta(gt=0, description="How often what is new in the log is copied, in seconds.")] = 60.0
    segment_mib: Annotated[int, Meta(ge=1, le=1024, description="Size at which a segment of the archive ends, in MiB.")] = 32


class S3Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server of buckets; AWS_* variables, profiles and the machine's own role are not looked at."""

    url: Annotated[str, Meta(description="S3 server, e.g. https://host:9000; empty: Amazon's in `region`.")] = ""
    region: Annotated[str, Meta(pattern="^[a-z0-9-]+$", description="Region; most servers of one's own take any.")] = "us-east-1"
    addressing: Annotated[
        str, Meta(pattern="^(path|virtual)$", description="Whether the bucket stands in the path, or in the host's name (virtual).")
    ] = "path"
    access_key_file: Annotated[str, Meta(description="File with the id of the access key; read again every few minutes.")] = ""
    secret_key_file: Annotated[str, Meta(description="File with the secret of the access key; read again every few minutes.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign the server's; empty: those of the system.")] = ""
    connect_s: Annotated[float, Meta(gt=0, description="Deadline of a connection, in seconds.")] = 5.0
    request_s: Annotated[float, Meta(gt=0, description="Deadline of one request, in seconds; a request carries up to 16 MiB.")] = 30.0
    retries: Annotated[int, Meta(ge=0, le=20, description="Times that a request is repeated after a lost connection or a 5xx.")] = 3
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of a question with its repetitions, in seconds.")] = 60.0
