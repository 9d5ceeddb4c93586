"""Notes of erasures: sealed, and for one erasure only."""

import msgspec
import pytest
from tests.unit.wire.test_manifests import Wrapping

from kalends.domain.errors import Damaged, Misconfigured
from kalends.wire import erasure_notes
from kalends.wire.archived import CopiedErasure

ENTRIES = [CopiedErasure("acme", "notes", body=b"said"), CopiedErasure("acme", "notes", erasure_id="01A", receipt=b"signed")]


async def test_a_note_is_read_back_and_tells_nothing_without_its_key():
    """When the erasure ended stands in the clear; what it is about does not."""
    content = await erasure_notes.seal("01A", ENTRIES, erased_us=7, wrapper=Wrapping())
    note = erasure_notes.read(content)

    assert note.erased_us == 7
    assert b"notes" not in content
    assert await erasure_notes.opened("01A", note, Wrapping()) == ENTRIES
    with pytest.raises(Misconfigured):
        await erasure_notes.opened("01A", note, Wrapping(2))
    with pytest.raises(Misconfigured):
        await erasure_notes.opened("01B", note, Wrapping())


async def test_a_changed_note_does_not_open():
    """And what is none is said to be none."""
    note = erasure_notes.read(await erasure_notes.seal("01A", ENTRIES, erased_us=7, wrapper=Wrapping()))
    changed = msgspec.structs.replace(note, sealed=note.sealed[:-2] + ("00" if note.sealed[-2:] != "00" else "01"))

    with pytest.raises(Damaged):
        await erasure_notes.opened("01A", changed, Wrapping())
    with pytest.raises(Damaged):
        erasure_notes.read(b"{}")
    with pytest.raises(Damaged, match="format 9"):
        erasure_notes.read(msgspec.json.encode(msgspec.structs.replace(note, format=9)))
