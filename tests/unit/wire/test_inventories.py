"""Inventories of the records."""

from datetime import UTC, datetime

import msgspec
import pytest

from kalends.domain.errors import Damaged
from kalends.kit import signatures
from kalends.wire import inventories, signed
from kalends.wire.inventories import Inventory

SIGNER = signatures.Signer(bytes(range(32)))
LOG = "00" * 16


def head(number: int = 0, **changes: object) -> Inventory:
    """One of two records."""
    values: dict[str, object] = {
        "format": inventories.FORMAT,
        "log_id": LOG,
        "number": number,
        "made_at": datetime(2026, 3, 1, tzinfo=UTC),
        "upto": 12,
        "records": 2,
        "listed": inventories.list_name(LOG, number, "ab"),
        "bytes": 100,
        "sha256": "00" * 32,
        "wrapped": "00",
        "key": "",
    }
    return Inventory(**{**values, **changes})


def test_a_head_is_read_as_it_was_signed():
    """By the key that it names."""
    found = inventories.read(signed.sign(head(), SIGNER), inventories.name_of(LOG, 0))

    assert msgspec.structs.replace(found, key="", signature="") == head()
    assert found.key == SIGNER.public.hex()


def test_any_changed_byte_is_damage_and_so_is_another_name():
    """A head that was moved to the place of another is none, nor is one of a later form."""
    content = signed.sign(head(), SIGNER)
    for at in range(len(content)):
        with pytest.raises(Damaged, match="inventory-0000000000"):
            inventories.read(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], inventories.name_of(LOG, 0))
    with pytest.raises(Damaged):
        inventories.read(content, inventories.name_of(LOG, 1))
    with pytest.raises(Damaged, match="format 2"):
        inventories.read(signed.sign(head(format=2), SIGNER), inventories.name_of(LOG, 0))


def test_a_digest_is_of_the_bytes():
    """Two that say the same at another time are two."""
    same, other = signed.sign(head(), SIGNER), signed.sign(head(upto=13), SIGNER)

    assert signed.digest(same) == signed.digest(signed.sign(head(), SIGNER))
    assert signed.digest(same) != signed.digest(other)
