"""Files of exports: what pages become, what is seen before anything is sent, and what is not sent because of what became of the rest."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.client import export_files
from kalends.client.export_files import Composer, LineFault, LineResult, Loading, Sent, check, is_export
from kalends.domain.errors import Malformed


def event(number: int, *, session: str = "s", day: str = "2021-03-04") -> str:
    """The line of an event."""
    return json.dumps({"type": "event", "event_id": f"e{number}", "session_id": session, "occurred_at": f"{day}T12:00:{number:02d}Z"})


def grip(name: str) -> str:
    """The line of a grip."""
    return json.dumps({"type": "grip", "grip_id": name, "excerpt": "x"})


def node(name: str, *grips: str, title: str = "", recorded: str = "2021-03-05T00:00:00Z") -> str:
    """The line of a version of a node."""
    bullets = [{"text": "-", "grips": list(grips)}] if grips else []
    return json.dumps({"type": "node", "node_id": name, "recorded_at": recorded, "title": title, "bullets": bullets})


DAY, WEEK, OTHER_DAY = "toc:day:2021-03-04", "toc:week:2021-W09", "toc:day:2022-03-04"
LINES = [event(1), event(2, session="t"), grip("g1"), node(DAY, "g1"), node(WEEK, "g1"), node(OTHER_DAY, "g1", title="later")]


def composed(*pages: list[str]) -> bytes:
    """The file that pages make."""
    composer = Composer()
    parts = [part for page in pages for part in composer.take(page, complete=True)]
    return b"".join([*parts, *composer.end()])


def kinds(file: bytes) -> list[str]:
    """Which kinds of lines it has, in order."""
    return [json.loads(line)["type"] for line in file.splitlines()]


def test_a_file_is_the_same_whatever_pages_it_came_in() -> None:
    """A grip that comes again counts once, and so does a version that says what the one before it says."""
    again = node(OTHER_DAY, "g1", title="later", recorded="2023-01-01T00:00:00Z")
    back = node(OTHER_DAY, "g1", title="sooner")
    whole = composed([*LINES, back])

    assert composed(LINES[:2], [*LINES[2:], again], [grip("g1"), back]) == whole
    assert kinds(whole) == ["begin", "event", "event", "grip", "node", "node", "node", "node", "session", "session", "end"]
    assert check(io.BytesIO(whole)) == {"event": 2, "document": 0, "grip": 1, "node": 4, "session": 2}
    assert is_export(whole.splitlines()[0])


def test_an_empty_memory_is_a_whole_file() -> None:
    """With a beginning and an end."""
    file = composed([])
    assert kinds(file) == ["begin", "end"]
    assert sum(check(io.BytesIO(file)).values()) == 0


@given(st.data())
def test_one_byte_that_is_changed_or_lost_is_found(data: st.DataObject) -> None:
    """Wherever it is in what is summed; and a file that ends anywhere but at its end is not whole."""
    file = composed(LINES)
    place = data.draw(st.integers(min_value=0, max_value=len(file) - 1))
    begin, end = file.index(b"\n") + 1, file.rindex(b"\n", 0, -1) + 1
    if begin <= place < end:
        byte = data.draw(st.integers(min_value=0, max_value=255).filter(lambda value: value != file[place]))
        with pytest.raises(Malformed):
            check(io.BytesIO(file[:place] + bytes([byte]) + file[place + 1 :]))
        with pytest.raises(Malformed):
            check(io.BytesIO(file[:place] + file[place + 1 :]))
    with pytest.raises(Malformed):
        check(io.BytesIO(file[:place]))


def rewritten(file: bytes, change: Any) -> bytes:
    """A file with other lines, whose sums are right."""
    lines = [line for line in file.splitlines() if json.loads(line)["type"] not in {"begin", "end", "session"}]
    composer = Composer()
    return b"".join([*composer.take([line.decode() for line in change(lines)], complete=True), *composer.end()])


def test_what_stands_in_the_wrong_place_is_found() -> None:
    """Sums do not help there: a node before its grip, an event after the calendar."""
    with pytest.raises(Malformed, match="line 4 cites g1"):
        check(io.BytesIO(rewritten(composed(LINES), lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]])))
    with pytest.raises(Malformed, match="line 7 of kind 'event'"):
        check(io.BytesIO(rewritten(composed(LINES), lambda lines: [*lines[1:], lines[0]])))


def results(batch: Any, **statuses: str) -> list[LineResult]:
    """New for each line, but for those whose text holds a name that is given."""

    def one(sent: Sent) -> LineResult:
        found = next((status for name, status in statuses.items() if f'"{name}"' in sent.text), "new")
        return LineResult(status=found, error=LineFault(pointer="/lines/0/text", detail="is odd", code="x") if found == "refused" else None)

    return [one(sent) for sent in batch]


def test_of_the_time_of_what_was_not_taken_no_calendar_is_sent() -> None:
    """Days, weeks and years that hold it are left to be made anew; all else goes with the grips that it cites."""
    loading = Loading(io.BytesIO(composed(LINES)))
    sent = []
    for batch in loading.batches():
        sent.append([(one.kind, one.number) for one in batch])
        loading.learn(batch, results(batch, e2="erased"), visibility="v")

    assert sent == [[("event", 2), ("event", 3)], [("grip", None), ("node", 7)]]
    assert loading.report.events == {"new": 1, "erased": 1}
    assert loading.report.nodes == {"remade": 2, "new": 1}
    assert [(one.line, one.status) for one in loading.report.untaken] == [(3, "erased")]
    assert (loading.report.failed, loading.report.visibility) == (0, "v")


def test_requests_are_of_one_kind_and_no_larger_than_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each brings the grips of its nodes; a refusal is told with its line and place."""
    monkeypatch.setattr(export_files, "LINES_OF_A_REQUEST", 3)
    loading = Loading(io.BytesIO(composed([event(number) for number in range(4)] + LINES[2:])))
    sent = []
    for batch in loading.batches():
        sent.append([one.kind for one in batch])
        loading.learn(batch, results(batch, e3="refused") if batch[0].kind == "event" else results(batch), visibility="")
    assert sent == [["event"] * 3, ["event"], ["grip", "node"]]
    assert [(one.line, one.reason) for one in loading.report.untaken] == [(5, "/text: is odd")]
    assert loading.report.failed == 1
