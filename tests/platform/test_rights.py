"""Roles over the whole operation table, as the running instance has it.

Belongs here: each role against each route and each subject. Does not belong here: credentials that are none (``test_attacks``). A newcomer
would get wrong: that somebody may do a thing shows by any answer but 401 and 403; most samples name nothing that exists.
"""

from collections.abc import Iterator

import pytest
from tests.platform import samples
from tests.platform.people import TENANT, Person, described
from tests.platform.samples import Operation
from tests.platform.test_isolation_nats import platform_bus

from kalends.app import rights
from kalends.domain.credentials import RIGHTS, ROLES

MEMORY = "roles"
ABSENT = "no-such-roles"


OF_ALL_MEMORIES = {"archive.show", "archive.verify", "backups.create", "erasures.tenant", "memories.hand_over"}
"""What only a credential that is for no memories in particular may do."""


@pytest.fixture(scope="module")
def table(admin: Person) -> list[Operation]:
    """The operation table of the running instance."""
    admin.make_memory(MEMORY)
    return samples.operations(described(admin))


@pytest.fixture(scope="module", params=list(ROLES))
def holder(request: pytest.FixtureRequest, admin: Person) -> Iterator[tuple[str, Person]]:
    """A role, and somebody who has it for one memory."""
    made = admin.good("POST", "/tokens", {"memories": [MEMORY], "role": request.param})
    assert (made["role"], made["rights"]) == (request.param, list(ROLES[request.param]))
    with Person(admin.instance, made["token"], token_id=made["id"]) as person:
        yield request.param, person


def test_the_page_of_rights_tells_of_every_operation_and_of_no_other(table: list[Operation]) -> None:
    """With its route, its subject and its right."""
    told = {(row.name, row.method, row.path, row.right, row.subject, row.open) for row in rights.rows()}
    assert told == {(one.name, one.method, one.path, one.right, one.subject, one.open) for one in table}


def test_every_operation_needs_one_known_right_or_none_at_all(table: list[Operation]) -> None:
    """Only the two rows of logging in are open."""
    assert {one.right for one in table if not one.open} == set(RIGHTS)
    assert {one.right for one in table if one.open} == {""}


def test_each_role_does_over_http_what_its_rights_say(holder: tuple[str, Person], table: list[Operation]) -> None:
    """403 for what it may not in its memory, 404 in every other, whatever is asked."""
    role, person = holder
    for operation in table:
        if operation.open:
            continue
        # what is given away must be no more than the giver has
        body = {**operation.body, "memories": [MEMORY]} if "memories" in (operation.body or {}) else operation.body
        own = person.ask(operation.method, operation.at(memory=MEMORY), body)
        may = rights.allowed(operation.right, role) and operation.name not in OF_ALL_MEMORIES
        assert (own.status_code not in {401, 403}) == may, (operation.name, role, own.text)
        if operation.of_memory:
            foreign = person.ask(operation.method, operation.at(memory=ABSENT), operation.body)
            assert foreign.status_code == 404, (operation.name, role, foreign.text)


async def test_each_role_does_over_nats_what_its_rights_say(holder: tuple[str, Person], table: list[Operation], admin: Person) -> None:
    """By the same table, also where the broker would let everything through."""
    role, person = holder
    async with platform_bus(admin) as bus:
        for operation in (one for one in table if one.subject):
            headers = {"Authorization": f"Bearer {person.token}"}
            codes = []
            for memory in (MEMORY, ABSENT):
                answer = await bus.connection.request(
                    f"kalends.v1.{TENANT}.{memory}.{operation.subject}", b"{}", timeout=10, headers=headers
                )
                codes.append((answer.headers or {}).get("Nats-Service-Error-Code"))
            assert (codes[0] not in {"401", "403"}) == rights.allowed(operation.right, role), (operation.name, role, codes)
            assert codes[1] == "404"


@pytest.mark.parametrize("asked", [{}, {"rights": ["search"], "role": "reader"}, {"role": "owner"}, {"rights": []}])
def test_a_credential_has_rights_or_a_role(admin: Person, asked: dict[str, object]) -> None:
    """Neither or both is a mistake of whoever asks."""
    assert admin.ask("POST", "/tokens", {"memories": None, **asked}).status_code == 422


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (["search"], "reader"),
        (["append", "search"], "writer"),
        (["erase", "search", "append"], "curator"),
        (["admin"], "admin"),
        (["append"], None),
    ],
)
def test_a_set_of_rights_is_shown_with_its_role(admin: Person, given: list[str], role: str | None) -> None:
    """Where it has one."""
    assert admin.good("POST", "/tokens", {"memories": [MEMORY], "rights": given})["role"] == role
