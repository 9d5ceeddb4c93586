"""One plain call of every operation, for tests that go over the whole table.

Belongs here: the calls. Does not belong here: who makes them and what must follow. A newcomer would get wrong: the table is compared with
the running instance's own description, so an operation without a sample fails a test instead of going untested.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

ABSENT_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ABSENT: Mapping[str, str] = {
    "session_id": "absent",
    "document_id": "absent",
    "dead_letter_id": "999999",
    "node": "toc:year:1999",
    "grip_id": "grip:" + "0" * 24,
}
"""Path parameters that name nothing; for those that are not here, ``ABSENT_ID`` does."""

_PARAMETER = re.compile(r"\{([a-z_]+)\}")

BODIES: Mapping[str, Any] = {
    "tokens.create": {"memories": None, "rights": ["search"]},
    "events.append": {"events": [{"session_id": "sample", "kind": "note", "text": "a sample"}]},
    "documents.put": {"document_id": "sample", "text": "# A sample\n\nwith words"},
    "memories.create": {},
    "memories.change": {"description": "a sample"},
    "reindexes.start": {"projection": "lexical", "dry_run": True},
    "toc_rebuilds.start": {"dry_run": True},
    "search": {"query": "words"},
    "context": {"max_tokens": 200, "query": "words"},
}
"""What to send; operations that are not named take no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as the running instance describes it."""

    name: str
    method: str
    path: str
    right: str

    @property
    def of_memory(self) -> bool:
        """Whether it is about one memory."""
        return "{memory}" in self.path

    @property
    def body(self) -> Any:
        """A body that it takes, or None."""
        return BODIES.get(self.name)

    def at(self, *, memory: str = "sample", **ids: str) -> str:
        """Its path with parameters filled in and escaped; those not given name nothing that exists."""
        known = {**ABSENT, "memory": memory, **ids}
        return _PARAMETER.sub(lambda found: quote(known.get(found[1], ABSENT_ID), safe=""), self.path)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation that *document* describes, in its order."""
    return [
        Operation(
            name=described["operationId"],
            method=method.upper(),
            path=path,
            right=described["description"].partition("`")[2].partition("`")[0],
        )
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def without_body(document: Mapping[str, Any]) -> set[str]:
    """The names of operations that take no body."""
    return {one["operationId"] for methods in document["paths"].values() for one in methods.values() if "requestBody" not in one}
