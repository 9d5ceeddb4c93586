"""Small objects that are signed as they are stored: links of the archive, inventories, manifests of backups.

Belongs here: one form of bytes, signing it, and reading it only if it is what was signed. Does not belong here: what the objects say
(``links``, ``inventories``, ``manifests``). A newcomer would get wrong: the signature is over the object with its key and without the
signature, sorted by name, so that whoever reads it can make the same bytes again.
"""

import hashlib
from typing import Any, Protocol, TypeVar

import msgspec

from kalends.domain.errors import Damaged
from kalends.kit import signatures

_canonical = msgspec.json.Encoder(order="sorted")


class Signed(Protocol):
    """A struct with a format, the key that it was signed with, and the signature, both in hex."""

    @property
    def format(self) -> int:
        """Which form of bytes it is."""
        ...

    @property
    def key(self) -> str:
        """The public key that it was signed with."""
        ...

    @property
    def signature(self) -> str:
        """Over all else."""
        ...


S = TypeVar("S", bound=Signed)


def sign(what: Any, signer: signatures.Signer) -> bytes:
    """The struct *what* as it is stored, with the key and the signature of *signer*."""
    named = msgspec.structs.replace(what, key=signer.public.hex(), signature="")
    return _canonical.encode(msgspec.structs.replace(named, signature=signer.sign(canonical(named)).hex()))


def read(content: bytes, decoder: msgspec.json.Decoder[S], *, name: str, reads: int) -> S:
    """The struct of format *reads* that *content* holds; errors call it *name*.

    Raises:
        Damaged: it is none, is of a form that this version does not read, or is not what was signed.
    """
    try:
        found = decoder.decode(content)
        public, signature = bytes.fromhex(found.key), bytes.fromhex(found.signature)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(f"{name} cannot be read") from error
    if found.format != reads:
        raise Damaged(f"{name} is of format {found.format}, which this version does not read")
    if not signatures.is_signed(canonical(found), signature, public=public):
        raise Damaged(f"{name} is not what was signed")
    return found


def digest(content: bytes) -> str:
    """By what others name an object: the SHA-256 of its bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def canonical(what: Any) -> bytes:
    """What is signed of the struct *what*."""
    return _canonical.encode({name: value for name, value in msgspec.structs.asdict(what).items() if name != "signature"})
