"""Sums of an export."""

import hashlib

from kalends.domain.exports import SECTIONS, Sum, Sums


def test_each_kind_is_summed_by_itself_in_its_order() -> None:
    """With every byte of its lines, and nothing of the others'."""
    sums = Sums()
    for kind, line in (("event", b"a\n"), ("node", b"b\n"), ("event", b"c\n")):
        sums.add(kind, line)

    found = sums.sums()
    assert set(found) == set(SECTIONS)
    assert found["event"] == Sum(lines=2, sha256=hashlib.sha256(b"a\nc\n").hexdigest())
    assert found["node"] == Sum(lines=1, sha256=hashlib.sha256(b"b\n").hexdigest())
    assert found["grip"] == Sum(lines=0, sha256=hashlib.sha256(b"").hexdigest())
