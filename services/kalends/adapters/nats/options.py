"""What can be tuned about the use of NATS: one value, given to ``open_nats``.

Belongs here: numbers with their units. Does not belong here: where a number comes from (``settings``). A newcomer would get wrong: the
sizes are reserved; the sum of the streams' ``max_bytes`` must fit into the broker's ``max_file_store``, else a stream is refused.
"""

from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.room import MIB, ROOM_BYTES, SPARE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How the adapters use the broker; seconds and bytes."""

    partitions: int = 1
    """Streams of events that share the 256 slots of memories, at least; where there are more already, they stay."""
    look_every: float = 2.0
    """How often a process that shares its broker looks whether others have widened the log."""
    widening_lease: float = 6.0
    """A process that dies while it widens the log is stood in for after so long; what is sent to the slots that it took away waits."""
    mend_after: float = 1.0
    """Slots that nobody has for so long were left by a process that died, and are given a stream by whoever notices."""
    replicas: int = 1
    events_bytes: int = 64 * 1024 * MIB
    """Size of each stream of events; a full one refuses with ``Throttled`` and loses nothing."""
    dedicated_bytes: int = 8 * 1024 * MIB
    """Size of the stream of each dedicated memory."""
    records_bytes: int = 8 * 1024 * MIB
    keys_bytes: int = 2 * 1024 * MIB
    dead_bytes: int = 256 * MIB
    ledger_bytes: int = 256 * MIB
    audit_bytes: int = 4 * 1024 * MIB
    """About 20 million entries; a full audit refuses, and with it every call that changes something."""
    named_only: bool = False
    """Whether only the servers that were named are spoken to, and none that a cluster tells of by itself."""
    connect_timeout: float = 10.0
    """From the start to the first connection."""
    request_timeout: float = 5.0
    """One question and its answer."""
    append_timeout: float = 10.0
    """One call of ``append``, retries included."""
    attempt_timeout: float = 3.0
    """One commit, before it is repeated with the same ids."""
    batch_max: int = 500
    """Messages in one atomic batch; the broker allows 1,000."""
    batch_bytes: int = 8 * MIB
    commits_in_flight: int = 4
    """Commits under way at once for each stream; another one starts beside them only with a full batch."""
    waiting_max: int = 20_000
    """Messages that may wait for a commit, for each stream; beyond it callers are ``Throttled``."""
    waiting_bytes: int = 64 * MIB
    reads_in_flight: int = 512
    heads_age: float = 0.05
    """How old an answer of ``heads`` may be."""
    idle: float = 2.0
    """After so long without a message ``follow`` yields an empty batch."""
    ack_wait: float = 30.0
    max_deliver: int = 8
    redelivery: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0, 600.0)
    """Waits for an ack, by attempt. The first one replaces ``ack_wait`` in the broker."""
    max_ack_pending: int = 4096
    sole_reader: bool = False
    """Whether nobody else reads the durable consumers: what an earlier process left unsettled then comes again at once, not after
    ``ack_wait``. Attempts are counted from 1 again, so a message that kills its reader is not given up on."""
    store: Path | None = None
    """The folder of a broker of our own. A broker that once finds no room there takes nothing more until it is restarted, so it must not
    come to that."""
    room_bytes: int = ROOM_BYTES
    """Free space in ``store`` below which appends are refused."""
    spare_bytes: int = SPARE_BYTES
    """Free space in ``store`` below which nothing at all is written."""
    pending_bytes: int = 32 * MIB
    """Bytes that may wait in the client for the socket."""

    def __post_init__(self) -> None:
        """Refuse what the broker would refuse later, or what would silently not do what it says."""
        if not 1 <= self.partitions <= 256 or not 1 <= self.batch_max <= 1000 or len(self.redelivery) >= self.max_deliver:
            raise ValueError("partitions must be 1 to 256, batch_max 1 to 1000, and redelivery shorter than max_deliver")
