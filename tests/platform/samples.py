"""One plain call of every operation, for tests that go over the whole table.

Belongs here: the calls. Does not belong here: who makes them and what must follow. A newcomer would get wrong: the table is compared with
the running instance's own description, so an operation without a sample fails a test instead of going untested.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kalends.kit import nkeys

ABSENT_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ABSENT: Mapping[str, str] = {
    "session_id": "absent",
    "document_id": "absent",
    "hold": "absent",
    "canary": "absent",
    "dead_letter_id": "999999",
    "node": "toc:year:1999",
    "grip_id": "grip:" + "0" * 24,
}
"""Path parameters that name nothing; for those that are not here, ``ABSENT_ID`` does."""

KEY = nkeys.new_pair("user")
"""The key of nobody's agent."""

_PARAMETER = re.compile(r"\{([a-z_]+)\}")

BODIES: Mapping[str, Any] = {
    "tokens.create": {"memories": None, "rights": ["search"]},
    "tokens.rotate": {},
    # a key is registered once for ever, so each call has one of its own
    "agents.create": lambda: {"public_key": nkeys.new_pair("user").public, "memories": None, "role": "reader"},
    "auth.nonce": {"public_key": KEY.public},
    "auth.session": {"public_key": KEY.public, "nonce": "sample", "signature": "sample"},
    "events.append": {"events": [{"session_id": "sample", "kind": "note", "text": "a sample"}]},
    "documents.put": {"document_id": "sample", "text": "# A sample\n\nwith words"},
    "memories.create": {},
    "memories.change": {"description": "a sample"},
    "reindexes.start": {"projection": "lexical", "dry_run": True},
    "toc_rebuilds.start": {"dry_run": True},
    "memories.hand_over": {"to": f"agent:{ABSENT_ID}"},
    "erasures.create": {"session_id": "absent", "dry_run": True},
    "erasures.tenant": {"everything": True, "dry_run": True},
    "holds.set": {"session_id": "absent"},
    "canaries.set": {"question": "a sample", "expect": [ABSENT_ID]},
    "retention.run": {"dry_run": True},
    "key_rotations.start": {"dry_run": True},
    "backups.create": {"tenant": True, "dry_run": True},
    "verifications.start": {"backup_id": ABSENT_ID},
    "restores.start": {"backup_id": ABSENT_ID, "memory": "sample", "into": "sample-restored", "dry_run": True},
    "exports.read": {},
    "imports.take": {"lines": [], "dry_run": True},
    "feedback.give": {"verdict": "missing"},
    "search": {"query": "words"},
    "context": {"max_tokens": 200, "query": "words"},
}
"""What to send, or what makes it; operations that are not named take no body."""


QUERIES: Mapping[str, str] = {"memories.remove": "?dry_run=true"}
"""What follows the path, so that a sample does no harm to what others use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as the running instance describes it."""

    name: str
    method: str
    path: str
    right: str
    open: bool = False
    subject: str | None = None

    @property
    def of_memory(self) -> bool:
        """Whether it is about one memory."""
        return "{memory}" in self.path

    @property
    def body(self) -> Any:
        """A body that it takes, or None."""
        body = BODIES.get(self.name)
        return body() if callable(body) else body

    def at(self, *, memory: str = "sample", **ids: str) -> str:
        """Its path with parameters filled in and escaped; those not given name nothing that exists."""
        known = {**ABSENT, "memory": memory, **ids}
        path = _PARAMETER.sub(lambda found: quote(known.get(found[1], ABSENT_ID), safe=""), self.path)
        return path + QUERIES.get(self.name, "")


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation that *document* describes, in its order."""
    return [
        Operation(
            name=described["operationId"],
            method=method.upper(),
            path=path,
            right=described.get("description", "").partition("`")[2].partition("`")[0],
            open=described.get("security") == [],
            subject=described.get("x-nats-subject"),
        )
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def without_body(document: Mapping[str, Any]) -> set[str]:
    """The names of operations that take no body."""
    return {one["operationId"] for methods in document["paths"].values() for one in methods.values() if "requestBody" not in one}
