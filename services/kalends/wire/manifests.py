"""Manifests: what a backup holds, in one form of bytes, signed.

Belongs here: the form, and the sealed part. Does not belong here: the objects that it names (``archived``). A newcomer
would get wrong: what can be read without a key says nothing of whose the backup is; names of tenants and memories stand in the sealed part.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from kalends.domain.backups import Known, Selection, SelectionKind
from kalends.domain.errors import Damaged, KalendsError, Misconfigured
from kalends.domain.events import microseconds
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
from kalends.wire import signed

FORMAT = 1
PREFIX = "backups/"
MANIFEST = "manifest"
KEYS = "keys"

_packed = msgspec.msgpack.Encoder()


class Object(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One object of a backup; ``kind`` is segment, keys, ledger, records or audit; ``expires_at`` where it ends before the backup."""

    name: str
    kind: str
    bytes: int
    items: int
    frames: int
    sha256: str
    expires_at: datetime | None = None


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the clear. ``streams`` gives for each stream of the log behind which sequence it begins and up to which it goes.

    ``wrapped`` is the backup's own key under the key-encryption key, ``sealed`` the contents under it, ``key`` and ``signature`` as in a
    receipt, all in hex. ``previous`` and ``previous_sha256`` name the backup that it builds on, and the digest of its manifest.
    """

    format: int
    backup_id: str
    log_id: str
    made_at: datetime
    finished_at: datetime
    expires_at: datetime
    previous: str | None
    previous_sha256: str | None
    streams: dict[str, tuple[int, int]]
    counts: dict[str, int]
    objects: list[Object]
    wrapped: str
    sealed: str
    key: str
    signature: str = ""

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(one.bytes for one in self.objects)

    def of_kind(self, kind: str) -> list[Object]:
        """Its objects of one kind, in order."""
        return [one for one in self.objects if one.kind == kind]


class Part(Struct, frozen=True, kw_only=True):
    """One memory in a backup: its messages by kind, the objects that they are in, and the digest of its events (ids and MACs, in order)."""

    tenant: str
    memory: str
    events: int
    nodes: int
    others: int
    segments: list[str]
    digest: str
    first_us: int
    last_us: int


class Contents(Struct, frozen=True, kw_only=True):
    """The sealed part of a manifest."""

    selection: SelectionKind
    tenant: str
    memory: str
    parts: list[Part]

    @property
    def chosen(self) -> Selection:
        """What the backup is about."""
        return Selection(kind=self.selection, tenant=self.tenant, memory=self.memory)


_manifests = msgspec.json.Decoder(Manifest)
_contents = msgspec.msgpack.Decoder(Contents)


def name_of(backup_id: str, rest: str = MANIFEST) -> str:
    """The name of an object of a backup."""
    return f"{PREFIX}{backup_id}/{rest}"


def read(content: bytes) -> Manifest:
    """A manifest from its bytes.

    Raises:
        Damaged: they are none, are of a form that this version does not read, or are not what was signed.
    """
    return signed.read(content, _manifests, name="the manifest of a backup", reads=FORMAT)


def seal(contents: Contents, box: aead.Box, *, backup_id: str) -> str:
    """The sealed part of the manifest of *backup_id*."""
    nonce, sealed = box.seal(_packed.encode(contents), context=_contents_context(backup_id))
    return (nonce + sealed).hex()


def open_contents(manifest: Manifest, box: aead.Box) -> Contents:
    """What :func:`seal` sealed.

    Raises:
        Damaged: it does not open.
    """
    try:
        sealed = bytes.fromhex(manifest.sealed)
        context = _contents_context(manifest.backup_id)
        return _contents.decode(box.open(sealed[: aead.NONCE_BYTES], sealed[aead.NONCE_BYTES :], context=context))
    except (aead.TamperedError, msgspec.MsgspecError, ValueError) as error:
        raise Damaged(f"the contents of the backup {manifest.backup_id} do not open") from error


async def wrap(key: bytes, wrapper: Wrapper, *, backup_id: str) -> str:
    """The key of a backup under the newest key-encryption key.

    Raises:
        Unavailable, DeadlineExceeded: the keeper of that key does not answer.
    """
    (wrapped,) = await wrapper.wrap([Bound(key=key, context=_key_context(backup_id))])
    return wrapped.hex()


async def unwrap(manifest: Manifest, wrapper: Wrapper) -> aead.Box:
    """The key of a backup, ready for use.

    Raises:
        Misconfigured: none of the key-encryption keys that are here opens it. Unavailable, DeadlineExceeded: their keeper does not answer.
    """
    (key,) = await wrapper.unwrap([Bound(key=bytes.fromhex(manifest.wrapped), context=_key_context(manifest.backup_id))])
    if isinstance(key, KalendsError):
        detail = f"the backup {manifest.backup_id} was made with another key-encryption key: put back the key file that belongs to it"
        raise Misconfigured(detail) from key
    return aead.Box(key)


def known(manifest: Manifest, contents: Contents, *, keys_are_there: bool) -> Known:
    """What decisions need of a backup."""
    keys = next(iter(manifest.of_kind(KEYS)), None)
    return Known(
        backup_id=manifest.backup_id,
        made_at=manifest.made_at,
        expires_at=manifest.expires_at,
        selection=contents.chosen,
        previous=manifest.previous,
        keys_expire_at=keys.expires_at if keys is not None and keys_are_there else None,
    )


def began_us(manifest: Manifest) -> int:
    """When its reading began, in microseconds."""
    return microseconds(manifest.made_at)


def _key_context(backup_id: str) -> bytes:
    return f"backup key\0{backup_id}".encode()


def _contents_context(backup_id: str) -> bytes:
    return f"kalends backup contents\0{backup_id}".encode()
