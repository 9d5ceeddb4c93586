"""Hand-overs in an instance that may die at any moment, with the second person that they need.

Belongs here: asking, approving, and seeing that all of it is done. Does not belong here: when it dies (``tests/faults``). A newcomer would
get wrong: each act is one try and says whether it is done; what an earlier try made is used again.
"""

from collections.abc import Callable

from tests.support.api import Api, Reply
from tests.support.load import AGAIN

Attempt = Callable[[Api], bool]
NEW_OWNER, ADMIN = ("search",), ("admin",)


class Hands:
    """Two admins and any number of owners, by name."""

    def __init__(self) -> None:
        self._people: dict[str, tuple[str, str]] = {}

    def asked_and_approved(self, memory: str, owner: str) -> Attempt:
        """Have *memory* handed over to *owner* by one admin's wish and another's word; one who has it has it."""

        def attempt(api: Api) -> bool:
            people = [self._person(api, name, rights) for name, rights in ((owner, NEW_OWNER), ("asker", ADMIN), ("approver", ADMIN))]
            if None in people:
                return False
            (to, _), (_, asker), (_, approver) = (one for one in people if one is not None)
            asked = api.ask("POST", f"/memories/{memory}/hand-over", {"to": f"token:{to}"}, headers=_bearer(asker))
            if not _done(asked) or asked.body["approval"] is None:
                return _done(asked)
            where = f"/approvals/{asked.body['approval']['approval_id']}/approve"
            return _done(api.ask("POST", where, headers=_bearer(approver)))

        return attempt

    def all_done(self, memory: str) -> Attempt:
        """Whatever was approved is done, every key is wrapped anew, and the memory is one of the owners'."""

        def attempt(api: Api) -> bool:
            listed, work, shown = (api.ask("GET", path) for path in ("/approvals", "/operations", f"/memories/{memory}"))
            if not all(map(_done, (listed, work, shown))):
                return False
            handed = {one["state"] for one in work.body["items"] if one["kind"] == "hand-over"}
            owners = {f"token:{token_id}" for token_id, _ in self._people.values()}
            decided = {one["state"] for one in listed.body["items"]}
            return decided == {"done"} and handed == {"succeeded"} and shown.body["owner"] in owners

        return attempt

    def _person(self, api: Api, name: str, rights: tuple[str, ...]) -> tuple[str, str] | None:
        """The id and the secret of somebody's token; None if it cannot be made now."""
        if name not in self._people:
            made = api.ask("POST", "/tokens", {"memories": None, "rights": rights})
            if _done(made):
                self._people[name] = made.body["id"], made.body["token"]
        return self._people.get(name)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _done(reply: Reply) -> bool:
    assert 200 <= reply.status < 300 or reply.status in AGAIN, reply
    return reply.status not in AGAIN
