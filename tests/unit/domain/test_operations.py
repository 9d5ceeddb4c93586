"""Long operations: when one is over."""

import pytest

from kalends.domain.events import EventId
from kalends.domain.operations import LongOperation


@pytest.mark.parametrize(
    ("state", "ended"), [("queued", False), ("running", False), ("succeeded", True), ("failed", True), ("cancelled", True)]
)
def test_an_operation_is_over_once_nothing_will_become_of_it(state: str, *, ended: bool) -> None:
    """However that came."""
    one = LongOperation(operation_id=EventId("x"), kind="k", subject="s", state=state, created_us=1, updated_us=1)

    assert one.has_ended is ended
