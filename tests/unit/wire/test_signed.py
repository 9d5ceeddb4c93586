"""What is signed is read as it was, and nothing else is."""

import msgspec
import pytest
from msgspec import Struct

from kalends.domain.errors import Damaged
from kalends.kit import signatures
from kalends.wire import signed

SIGNER = signatures.Signer(bytes(range(32)))


class Note(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any object that is signed."""

    format: int = 1
    text: str = "what it says"
    key: str = ""
    signature: str = ""


NOTES = msgspec.json.Decoder(Note)


def read(content: bytes) -> Note:
    """As its callers do."""
    return signed.read(content, NOTES, name="the note", reads=1)


def test_it_is_read_as_it_was_signed_by_the_key_that_it_names():
    """Whatever key and signature it had before count for nothing."""
    found = read(signed.sign(Note(key="00", signature="11"), SIGNER))

    assert (found.text, found.key) == ("what it says", SIGNER.public.hex())
    assert signed.sign(Note(), SIGNER) == signed.sign(Note(key="00", signature="11"), SIGNER)


def test_any_changed_byte_is_damage():
    """Wherever it is: in the text, the format, the key or the signature."""
    content = signed.sign(Note(), SIGNER)

    for at in range(len(content)):
        with pytest.raises(Damaged, match="the note"):
            read(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_another_format_is_refused_by_its_number():
    """What a later version signed is not guessed at, nor is what is no note."""
    with pytest.raises(Damaged, match="of format 2"):
        read(signed.sign(Note(format=2), SIGNER))
    with pytest.raises(Damaged, match="cannot be read"):
        read(b"{}}")


def test_what_is_signed_leaves_out_the_signature_alone():
    """And is the same whatever the order of members."""
    assert signed.canonical(Note(signature="11")) == signed.canonical(Note())
    assert signed.canonical(Note(key="00")) != signed.canonical(Note())
    assert list(msgspec.json.decode(signed.canonical(Note()))) == ["format", "key", "text"]


def test_a_digest_is_of_the_bytes():
    """Two that say the same by another key are two."""
    same, other = signed.sign(Note(), SIGNER), signed.sign(Note(), signatures.Signer(bytes(32)))

    assert signed.digest(same) == signed.digest(signed.sign(Note(), SIGNER))
    assert signed.digest(same) != signed.digest(other)
