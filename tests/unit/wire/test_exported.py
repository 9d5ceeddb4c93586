"""Lines of an export: what is written is read back, and equal content is equal bytes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from tests.support import strategies

from kalends.domain.calendar import Bullet, Grip, Node, grip_of
from kalends.domain.errors import Invalid
from kalends.domain.events import Event, EventId, moment
from kalends.domain.periods import period_of
from kalends.wire import exported
from kalends.wire.documents import DocumentRecord

FIRST, LAST = EventId("01ARZ3NDEKTSV4RRFFQ69G5FAV"), EventId("01ARZ3NDEKTSV4RRFFQ69G5FAW")
GRIP = grip_of("the ferry left", first=FIRST, last=LAST, session_id="s", occurred_us=1_600_000_000_000_001, speaker="Ana")
NODE = Node(
    period=period_of("toc:day:2020-09-13"),
    first_us=1_600_000_000_000_001,
    last_us=1_600_000_000_000_002,
    title="Ferries",
    bullets=(Bullet(text="- the ferry left", grips=(GRIP,)),),
    keywords=("ferry",),
    children=("toc:segment:2020-09-13:0123456789abcdef",),
    events=(FIRST, LAST),
    event_count=2,
    agents=("ana",),
    author="extractive",
    inputs="made of",
)
DOCUMENT = DocumentRecord(
    document_id="plan",
    title="The plan",
    source="plan.md",
    content_hash=bytes(range(32)),
    chunk_ids=(FIRST,),
    stale=(),
    updated_us=1_600_000_000_000_001,
    number=1_600_000_000_000_001,
    pending=False,
    labels=("hr",),
)
_decoder: "msgspec.json.Decoder[exported.Line]" = msgspec.json.Decoder(exported.Line)


def again(line: exported.Line) -> Any:
    """A line after it was written and read."""
    text = exported.encoded(line)
    assert "\n" not in text
    return _decoder.decode(text)


@given(strategies.events())
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    """With both its times, and whether anybody said when it happened; however its metadata was ordered."""
    line = exported.event_line(event)
    turned = replace(event, facets=replace(event.facets, metadata=dict(reversed(event.facets.metadata.items()))))

    assert exported.event_of(again(line)) == event
    assert exported.encoded(exported.event_line(turned)) == exported.encoded(line)


def test_documents_grips_and_versions_of_nodes_come_back_as_they_were() -> None:
    """To the microsecond; a node finds its grips by their ids."""
    recorded_us = 1_700_000_000_000_007
    line = again(exported.node_line(NODE, recorded_us=recorded_us))

    assert exported.document_of(again(exported.document_line(DOCUMENT))) == DOCUMENT
    assert exported.grip_from(again(exported.grip_line(GRIP))) == GRIP
    assert (exported.node_of(line, {GRIP.id: GRIP}), exported.recorded_us(line)) == (NODE, recorded_us)
    gone = Node(period=NODE.period, first_us=1, last_us=2, gone=True)
    assert exported.node_of(again(exported.node_line(gone, recorded_us=3)), {}) == gone


def test_what_is_at_its_default_is_not_written() -> None:
    """A plain event is a short line, with its names in a fixed order."""
    at = datetime(2020, 9, 13, 12, 26, 40, 1, tzinfo=UTC)
    line = exported.EventLine(event_id=FIRST, session_id="s", kind="note", role="user", text="x", occurred_at=at, recorded_at=moment(0))

    assert exported.encoded(line) == (
        f'{{"type":"event","event_id":"{FIRST}","session_id":"s","kind":"note","role":"user","text":"x",'
        '"occurred_at":"2020-09-13T12:26:40.000001Z","recorded_at":"1970-01-01T00:00:00Z"}'
    )


WRONG: list[tuple[str, Any]] = [
    ("/grip_id", lambda: exported.grip_from(msgspec.structs.replace(exported.grip_line(GRIP), excerpt="the ferry stayed"))),
    ("/bullets", lambda: exported.node_of(exported.node_line(NODE, recorded_us=0), {})),
    ("/bullets", lambda: exported.node_of(exported.node_line(replace(NODE, bullets=(Bullet(text="-", grips=()),)), recorded_us=0), {})),
    (
        "/node_id",
        lambda: exported.node_of(msgspec.structs.replace(exported.node_line(NODE, recorded_us=0), node_id="toc:day:2020-02-30"), {}),
    ),
    ("/chunk_ids", lambda: exported.document_of(msgspec.structs.replace(exported.document_line(DOCUMENT), chunk_ids=("x",)))),
    (
        "/updated_at",
        lambda: exported.document_of(
            msgspec.structs.replace(exported.document_line(DOCUMENT), updated_at=datetime.fromisoformat("9999-12-31T23:59:59-12:00"))
        ),
    ),
]


@pytest.mark.parametrize(("pointer", "read"), WRONG)
def test_what_contradicts_itself_is_refused_with_its_place(pointer: str, read: Any) -> None:
    """Evidence that is another's, a line of a node that rests on nothing, a day that no calendar has."""
    with pytest.raises(Invalid) as refused:
        read()
    assert refused.value.faults[0].pointer == pointer


def test_a_grip_is_its_evidence() -> None:
    """Two grips of the same evidence are one, for the file tells of each once."""
    twin: Grip = replace(GRIP)
    assert exported.encoded(exported.grip_line(twin)) == exported.encoded(exported.grip_line(GRIP))
