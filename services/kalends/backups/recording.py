"""Records in a backup: which kinds are copied, and whose they are.

Belongs here: that decision, for every kind that there is. Does not belong here: what a record says (``wire``). A newcomer would get wrong:
what is left out is left out because a restored installation makes it anew: who leads, which generation serves, which log this is.
"""

from collections.abc import AsyncIterator, Sequence

from kalends.domain.backups import Selection
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.records import Record, Records
from kalends.wire.archived import CopiedRecord

NAMED = ("memory", "isolation")
"""Kept under the tenant by the memory's name."""

KEYED = ("canary", "document", "erasure", "erasure-request", "hold", "spending")
"""Kept under the key of the memory's scope."""

OF_TENANT = ("token", "approval")
OF_INSTANCE = ("agent", "job", "session-secret")
LEFT_OUT = (
    "agent-nonces",
    "archive",
    "comparison",
    "drill",
    "erasure-mark",
    "generation",
    "lease",
    "model",
    "operation",
    "restore",
    "seal",
)
ERASURES = ("erasure", "erasure-request", "hold")
"""Of these the newest backup knows best, whichever is restored."""


async def scopes_of(records: Records, selection: Selection) -> Sequence[Scope]:
    """The memories that *selection* takes, those included of which nothing but their erasure is left."""
    found = set()
    for kind in NAMED:
        for record in await records.list(kind, selection.tenant or None):
            scope = Scope(Tenant(record.owner), MemoryName(record.name))
            if selection.takes(scope):
                found.add(scope)
    return sorted(found)


async def erasure_scopes(records: Records, selection: Selection) -> Sequence[tuple[Scope, str]]:
    """The memory and the id of every erasure of what *selection* takes."""
    keys = {scope.key: scope for scope in await scopes_of(records, selection)}
    return [(keys[record.owner], record.name) for record in await records.list("erasure") if record.owner in keys]


async def records_of(records: Records, selection: Selection, scopes: Sequence[Scope]) -> AsyncIterator[CopiedRecord]:
    """The records of *selection*, whose memories are *scopes*."""
    names, keys = set(scopes), {scope.key for scope in scopes}

    def is_chosen(record: Record) -> bool:
        if record.kind in NAMED:
            return Scope(Tenant(record.owner), MemoryName(record.name)) in names
        if record.kind in KEYED:
            return record.owner in keys
        return selection.kind == "all" or record.owner == selection.tenant

    for kind in _kinds(selection):
        for record in await records.list(kind):
            if is_chosen(record):
                yield CopiedRecord(record.kind, record.owner, record.name, record.value)


def _kinds(selection: Selection) -> Sequence[str]:
    further = {"memory": (), "tenant": OF_TENANT, "all": (*OF_TENANT, *OF_INSTANCE)}[selection.kind]
    return (*NAMED, *KEYED, *further)
