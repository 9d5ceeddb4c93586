"""Envelopes that were stored long ago: every version has to read them."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.wire import envelopes
from kalends.wire.vault import key_reference

FOLDER = Path(__file__).parents[2] / "golden" / "v1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
BOX = aead.Box(bytes(range(32)))
"""The key of all golden envelopes: a test vector, never a secret."""


def as_json(value) -> object:
    """A value as ``expected.json`` has it; labels came later, and those that were stored before have none."""
    found = json.loads(json.dumps(asdict(value), default=str, sort_keys=True))
    if "facets" in found and not found["facets"]["labels"]:
        del found["facets"]["labels"]
    return found


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_old_envelope_still_opens_to_what_it_held(name):
    """Value by value, and type by type."""
    wanted = EXPECTED[name]
    sealed = envelopes.parse((FOLDER / f"{name}.bin").read_bytes())
    content = envelopes.unseal(sealed, BOX)

    assert sealed.scope == Scope(Tenant(wanted["scope"][0]), MemoryName(wanted["scope"][1]))
    assert repr(as_json(content)) == repr(wanted.get("event") or wanted.get("retraction"))


@pytest.mark.parametrize("name", sorted(name for name, wanted in EXPECTED.items() if "event" in wanted))
def test_the_digest_of_an_old_event_is_still_what_it_was(name):
    """Else a repetition of it would be taken for a conflict; and its key would not be found by another reference."""
    sealed = envelopes.parse((FOLDER / f"{name}.bin").read_bytes())
    event = envelopes.unseal(sealed, BOX)

    assert envelopes.content_mac(event, BOX).hex() == EXPECTED[name]["mac"] == sealed.content_mac.hex()
    assert sealed.key_reference == key_reference(sealed.scope, event.facets.session_id)


def test_every_golden_envelope_is_described_and_the_first_ones_are_there():
    """None is lost, and none lies about unread."""
    files = {path.stem for path in FOLDER.glob("*.bin")}

    assert files == set(EXPECTED)
    assert files >= {"every-field", "minimal", "scripts", "year-one", "retraction"}
