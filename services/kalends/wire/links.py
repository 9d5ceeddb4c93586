"""Links of the archive of the log: what a segment of it holds, in one form of bytes, signed, each naming the digest of the one before.

Belongs here: the form, names and checking. Does not belong here: signing (``signed``), segments' bytes (``archived``), copying or checking
them (``backups``). A newcomer would get wrong: a link is never changed. What was erased leaves its segment by an amendment, which names
what it takes the place of, so that the chain stays whole while its messages go.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise

import msgspec
from msgspec import Struct

from kalends.domain.errors import Damaged, KalendsError, Misconfigured
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
from kalends.wire import signed

FORMAT = 1
PREFIX = "log/"


class Logged(Struct, frozen=True, array_like=True):
    """A message of the log as it was; times in microseconds."""

    stream: str
    sequence: int
    epoch: int
    recorded_us: int
    body: bytes
    headers: dict[str, str]


class Link(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One link, or with ``amends`` > 0 the so-manieth amendment of one.

    ``streams`` gives for every stream behind which sequence the segment begins and up to which it goes; ``holes`` the ranges in between
    that were empty. ``previous_sha256`` is the digest of the link before, and of an amendment that of what it takes the place of.
    ``wrapped`` is the segment's own key under the key-encryption key; ``key`` and ``signature`` are as in a receipt, all in hex.
    """

    format: int
    log_id: str
    number: int
    amends: int
    made_at: datetime
    previous_sha256: str | None
    streams: dict[str, tuple[int, int]]
    holes: dict[str, list[tuple[int, int]]]
    segment: str
    bytes: int
    messages: int
    sha256: str
    wrapped: str
    key: str
    signature: str = ""

    @property
    def name(self) -> str:
        """Under which it is kept."""
        return name_of(self.log_id, self.number, amends=self.amends)

    @property
    def upto(self) -> Mapping[str, int]:
        """Per stream, how far the archive goes with it."""
        return {stream: upto for stream, (_, upto) in self.streams.items()}


_links = msgspec.json.Decoder(Link)


def name_of(log_id: str, number: int, *, amends: int = 0) -> str:
    """The name of a link or of an amendment of one."""
    return f"{PREFIX}{log_id}/link-{number:010d}" if not amends else f"{PREFIX}{log_id}/amended-{number:010d}-{amends:06d}"


def segment_name(log_id: str, number: int, nonce: str) -> str:
    """The name of a segment; *nonce* differs between those who may write at once, of whom one gets the link."""
    return f"{PREFIX}{log_id}/segment-{number:010d}-{nonce}"


def read(content: bytes, name: str) -> Link:
    """The link *name* from its bytes.

    Raises:
        Damaged: they are none, are of a form that this version does not read, or are not what was signed.
    """
    found = signed.read(content, _links, name=name, reads=FORMAT)
    if found.name != name:
        raise Damaged(f"{name} is not what was signed")
    return found


async def wrap(key: bytes, wrapper: Wrapper, *, segment: str) -> str:
    """The key of a segment under the newest key-encryption key.

    Raises:
        Unavailable, DeadlineExceeded: the keeper of that key does not answer.
    """
    (wrapped,) = await wrapper.wrap([Bound(key=key, context=_context(segment))])
    return wrapped.hex()


async def unwrap(wrapped: str, wrapper: Wrapper, *, segment: str) -> aead.Box:
    """The key of a segment, ready for use.

    Raises:
        Misconfigured: none of the key-encryption keys that are here opens it. Unavailable, DeadlineExceeded: their keeper does not answer.
    """
    (key,) = await wrapper.unwrap([Bound(key=bytes.fromhex(wrapped), context=_context(segment))])
    if isinstance(key, KalendsError):
        raise Misconfigured(f"{segment} was made with another key-encryption key: put back the key file that belongs to it") from key
    return aead.Box(key)


def check_next(before: Link | None, before_sha256: str | None, link: Link) -> None:
    """See that *link* goes on where the one before ends.

    Raises:
        Damaged: it names another, or leaves something out.
    """
    if link.previous_sha256 != before_sha256:
        raise Damaged(f"{link.name} was not built on the link before it as that is now")
    ended = {} if before is None else before.upto
    for stream in sorted({*ended, *link.streams}):
        if link.streams.get(stream, (-1, -1))[0] != ended.get(stream, 0):
            raise Damaged(f"{link.name} does not begin where the link before it ended with {stream}")


def ranges(sequences: list[int]) -> list[tuple[int, int]]:
    """Ascending *sequences* as ranges, both ends included."""
    starts = [one for before, one in pairwise([-1, *sequences]) if one != before + 1]
    ends = [one for one, after in pairwise([*sequences, -1]) if after != one + 1]
    return list(zip(starts, ends, strict=True))


def _context(segment: str) -> bytes:
    return f"archive key\0{segment}".encode()
