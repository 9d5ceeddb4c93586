"""Links of the archive of the log."""

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Damaged
from kalends.kit import signatures
from kalends.wire import links, signed
from kalends.wire.links import Link

SIGNER = signatures.Signer(bytes(range(32)))
LOG = "00" * 16


def link(number: int = 0, **changes: object) -> Link:
    """One of two streams."""
    values: dict[str, object] = {
        "format": links.FORMAT,
        "log_id": LOG,
        "number": number,
        "amends": 0,
        "made_at": datetime(2026, 3, 1, tzinfo=UTC),
        "previous_sha256": None,
        "streams": {"EVENTS_0": (0, 7), "EVENTS_1": (0, 0)},
        "holes": {"EVENTS_0": [(2, 3)]},
        "segment": links.segment_name(LOG, number, "ab"),
        "bytes": 100,
        "messages": 5,
        "sha256": "00" * 32,
        "wrapped": "00",
        "key": "",
    }
    return Link(**{**values, **changes})


def test_a_link_is_read_as_it_was_signed():
    """By the key that it names."""
    content = signed.sign(link(), SIGNER)
    found = links.read(content, links.name_of(LOG, 0))

    assert msgspec.structs.replace(found, key="", signature="") == link()
    assert found.key == SIGNER.public.hex()
    assert found.upto == {"EVENTS_0": 7, "EVENTS_1": 0}


def test_any_changed_byte_is_damage_and_so_is_another_name():
    """A link that was moved to the place of another is none."""
    content = signed.sign(link(), SIGNER)
    for at in range(len(content)):
        with pytest.raises(Damaged, match="link-0000000000"):
            links.read(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], links.name_of(LOG, 0))
    with pytest.raises(Damaged):
        links.read(content, links.name_of(LOG, 1))
    with pytest.raises(Damaged, match="format 2"):
        links.read(signed.sign(link(format=2), SIGNER), links.name_of(LOG, 0))


def test_a_link_goes_on_where_the_one_before_ended():
    """In every stream, also in one that has nothing new; a new stream begins at its beginning."""
    first = link()
    goes_on = {"EVENTS_0": (7, 9), "EVENTS_1": (0, 0), "EV_A": (0, 2)}
    links.check_next(None, None, first)
    links.check_next(first, "aa", link(1, previous_sha256="aa", streams=goes_on))

    for wrong in (
        {"previous_sha256": "bb", "streams": goes_on},
        {"previous_sha256": "aa", "streams": {**goes_on, "EVENTS_0": (8, 9)}},
        {"previous_sha256": "aa", "streams": {**goes_on, "EV_A": (1, 2)}},
        {"previous_sha256": "aa", "streams": {"EVENTS_0": (7, 9)}},
    ):
        with pytest.raises(Damaged, match="link-0000000001"):
            links.check_next(first, "aa", link(1, **wrong))
    with pytest.raises(Damaged):
        links.check_next(None, None, link(streams={"EVENTS_0": (1, 7)}))


@given(st.sets(st.integers(min_value=1, max_value=60)))
def test_ranges_are_the_same_sequences_in_as_few_as_can_be(sequences):
    """Both ends included; two that touch are one."""
    found = links.ranges(sorted(sequences))

    assert [one for first, last in found for one in range(first, last + 1)] == sorted(sequences)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))
