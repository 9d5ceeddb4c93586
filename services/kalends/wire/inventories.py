"""Inventories of the records, as the archive of the log keeps them: a signed head, and the sealed list that it names.

Belongs here: the form, names and checking. Does not belong here: signing (``signed``), the list's bytes (``archived``), what is compared
(``backups.record_checking``). A newcomer would get wrong: inventories are no chain. Each says all by itself, only the newest counts, and
those before it are removed, so that what was erased leaves the archive.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from kalends.domain.errors import Damaged
from kalends.wire import signed
from kalends.wire.links import PREFIX

FORMAT = 1


class Noted(Struct, frozen=True, array_like=True):
    """A record as it was: its place, as the store calls it, its revision, and the digest of what was stored."""

    place: str
    revision: int
    digest: bytes


class Inventory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The head of one. ``upto``: the last revision that the store had given out before it was looked through.

    ``listed`` names the list, which holds ``records`` items in order of place; ``wrapped`` is its own key under the key-encryption key;
    ``key`` and ``signature`` are as in a link, all in hex.
    """

    format: int
    log_id: str
    number: int
    made_at: datetime
    upto: int
    records: int
    listed: str
    bytes: int
    sha256: str
    wrapped: str
    key: str
    signature: str = ""

    @property
    def name(self) -> str:
        """Under which it is kept."""
        return name_of(self.log_id, self.number)


_heads = msgspec.json.Decoder(Inventory)


def name_of(log_id: str, number: int) -> str:
    """The name of a head."""
    return f"{PREFIX}{log_id}/inventory-{number:010d}"


def list_name(log_id: str, number: int, nonce: str) -> str:
    """The name of a list; *nonce* differs between those who may write at once, of whom one gets the head."""
    return f"{PREFIX}{log_id}/records-{number:010d}-{nonce}"


def read(content: bytes, name: str) -> Inventory:
    """The head *name* from its bytes.

    Raises:
        Damaged: they are none, are of a form that this version does not read, or are not what was signed.
    """
    found = signed.read(content, _heads, name=name, reads=FORMAT)
    if found.name != name:
        raise Damaged(f"{name} is not what was signed")
    return found
