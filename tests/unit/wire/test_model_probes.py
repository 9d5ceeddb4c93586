"""What a served model was when it was first met: one answer for all processes, for ever."""

import pytest
from tests.support.records import MemoryRecords

from kalends.domain.errors import Conflict
from kalends.wire.model_probes import KIND, ModelProbes

FIRST = [0.25, 0.5, 0.0]
LATER = [0.0, 0.5, 0.75]


async def test_the_first_one_counts_for_every_process():
    """To the last bit, however often and by whom it is asked; other models have their own."""
    records = MemoryRecords()

    assert await ModelProbes(records).first("vllm-a-3", FIRST) == FIRST
    for _ in range(2):
        assert await ModelProbes(records).first("vllm-a-3", LATER) == FIRST
    assert await ModelProbes(records).first("vllm-b-3", LATER) == LATER


async def test_of_two_that_meet_a_model_at_once_one_is_first(monkeypatch: pytest.MonkeyPatch):
    """The other one holds its own against that."""
    records = MemoryRecords()
    put = records.put

    async def overtaken(*args: object, **more: object) -> int:
        monkeypatch.undo()
        await ModelProbes(records).first("vllm-a-3", FIRST)
        return await put(*args, **more)

    monkeypatch.setattr(records, "put", overtaken)

    assert await ModelProbes(records).first("vllm-a-3", LATER) == FIRST


@pytest.mark.parametrize("value", [b"\xff\xff", b"", None], ids=["garbage", "another length", "lost"])
async def test_a_record_that_cannot_be_used_is_replaced(value: bytes | None):
    """By what the model is now, or no vector could be made any more."""
    records = MemoryRecords()
    await records.put(KIND, "instance", "vllm-a-3", value or b"")
    if value is None:
        records.lose(KIND, "instance", "vllm-a-3")

    assert await ModelProbes(records).first("vllm-a-3", LATER) == LATER
    assert await ModelProbes(records).first("vllm-a-3", FIRST) == LATER


async def test_a_store_that_never_agrees_is_told_of(monkeypatch: pytest.MonkeyPatch):
    """Nothing is guessed."""
    records = MemoryRecords()

    async def refused(*_args: object, **_more: object) -> int:
        raise Conflict("another write came first")

    monkeypatch.setattr(records, "put", refused)

    with pytest.raises(Conflict):
        await ModelProbes(records).first("vllm-a-3", FIRST)
