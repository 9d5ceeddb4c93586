"""Manifests: one form of bytes, signed, with a sealed part."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kalends.domain.errors import Damaged, KalendsError, Misconfigured
from kalends.domain.errors import Damaged as Refused
from kalends.kit import aead, signatures
from kalends.ports.kek import Bound
from kalends.wire import manifests, signed
from kalends.wire.manifests import Contents, Manifest, Object, Part

SIGNER = signatures.Signer(bytes(range(32)))
BOX = aead.Box(bytes(32))
NOW = datetime(2026, 5, 1, tzinfo=UTC)
PART = Part(tenant="acme", memory="notes", events=1, nodes=0, others=0, segments=["s"], digest="d", first_us=1, last_us=2)
CONTENTS = Contents(selection="memory", tenant="acme", memory="notes", parts=[PART])
MADE = Manifest(
    format=manifests.FORMAT,
    backup_id="01A",
    log_id="00" * 16,
    made_at=NOW,
    finished_at=NOW + timedelta(seconds=3),
    expires_at=NOW + timedelta(days=30),
    previous=None,
    previous_sha256=None,
    streams={"EVENTS_0": (0, 10)},
    counts={"events": 10},
    objects=[Object(name="backups/01A/keys", kind="keys", bytes=7, items=1, frames=1, sha256="ab", expires_at=NOW + timedelta(days=7))],
    wrapped="00",
    sealed=manifests.seal(CONTENTS, BOX, backup_id="01A"),
    key="",
)


class Wrapping:
    """Key-encryption keys of which the last one is a byte that is added; it opens nothing of another."""

    def __init__(self, name: int = 1) -> None:
        self._name = bytes([name])

    async def wrap(self, keys: list[Bound]) -> list[bytes]:
        return [self._name + key.context + key.key for key in keys]

    async def unwrap(self, wrapped: list[Bound]) -> list[bytes | KalendsError]:
        return [one.key[-32:] if one.key.startswith(self._name + one.context) else Refused("does not open") for one in wrapped]


def test_what_is_signed_is_read_back():
    """With the key that signed it."""
    found = manifests.read(signed.sign(MADE, SIGNER))

    assert msgspec.structs.replace(found, key="", signature="") == MADE
    assert found.key == SIGNER.public.hex()
    assert found.size == 7


@pytest.mark.parametrize("at", range(0, 1200, 37))
def test_no_byte_of_it_can_be_changed(at: int):
    """Wherever it is."""
    content = signed.sign(MADE, SIGNER)
    at %= len(content)

    with pytest.raises(Damaged):
        manifests.read(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_another_format_is_refused_by_its_number():
    """What a later version wrote is not guessed at."""
    with pytest.raises(Damaged, match="format 2"):
        manifests.read(signed.sign(msgspec.structs.replace(MADE, format=2), SIGNER))
    with pytest.raises(Damaged):
        manifests.read(b"not json")


def test_names_stand_in_the_sealed_part_only():
    """It opens with the backup's key, for this backup only."""
    assert manifests.open_contents(MADE, BOX) == CONTENTS
    assert b"notes" not in signed.sign(MADE, SIGNER)
    with pytest.raises(Damaged):
        manifests.open_contents(msgspec.structs.replace(MADE, backup_id="01B"), BOX)
    with pytest.raises(Damaged):
        manifests.open_contents(MADE, aead.Box(bytes(31) + b"1"))
    with pytest.raises(Damaged):
        manifests.open_contents(msgspec.structs.replace(MADE, sealed="zz"), BOX)


async def test_the_key_needs_the_key_encryption_key_that_wrapped_it():
    """Another one is a matter of settings, not of damage."""
    key = bytes(range(32))
    made = msgspec.structs.replace(MADE, wrapped=await manifests.wrap(key, Wrapping(), backup_id="01A"))

    box = await manifests.unwrap(made, Wrapping())
    assert box.digest(b"same") == aead.Box(key).digest(b"same")
    with pytest.raises(Misconfigured, match="01A"):
        await manifests.unwrap(made, Wrapping(2))


def test_decisions_are_told_when_the_keys_end():
    """Unless they are gone."""
    assert manifests.known(MADE, CONTENTS, keys_are_there=True).keys_expire_at == NOW + timedelta(days=7)
    assert manifests.known(MADE, CONTENTS, keys_are_there=False).keys_expire_at is None
