"""That the end of every instance of the suite notices content in a log: the watch over all other tests.

Belongs here: the watch itself. Does not belong here: what is logged. A newcomer would get wrong: that it finds nothing elsewhere proves
something only if it finds what is there.
"""

from pathlib import Path

import pytest
from tests.support import planted
from tests.support.instance import Instance


@pytest.mark.parametrize(
    "body",
    [
        {"events": [{"session_id": "s", "kind": "message", "text": "seven herons told the lock keeper"}]},
        {"query": "seven herons told the lock keeper"},
        {"title": "A manual", "text": "seven herons told the lock keeper" + " and so on" * 100},
    ],
)
def test_an_instance_that_logged_what_it_was_told_fails_its_test(tmp_path: Path, body: object) -> None:
    """Whether it came as an event, a question or a document."""
    told = Instance(tmp_path / "data")
    planted.note(body)
    told.log_file.write_text('{"event": "appended", "text": "seven herons told the lock keeper and"}\n', encoding="utf-8")

    with pytest.raises(AssertionError, match="content is in a log"):
        told.close()
