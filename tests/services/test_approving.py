"""Approving: expiry, two decisions at once, what a dead process left, on a clock of the test's own."""

import asyncio
from dataclasses import dataclass, field

import pytest
from tests.support.clocks import SimulatedClock
from tests.support.records import MemoryRecords

from kalends.domain import approvals
from kalends.domain.approvals import Approval
from kalends.domain.audit import Entry
from kalends.domain.credentials import Principal
from kalends.domain.errors import Conflict, NotFound, Throttled, Unavailable
from kalends.domain.scope import Tenant
from kalends.ingest import approving
from kalends.ingest.approving import Approvals
from kalends.kit import failpoints
from kalends.wire.approvals import ApprovalStore

EXPIRE_S = 3600.0


def somebody(name: str) -> Principal:
    """An admin of all memories."""
    return Principal(token_id=f"{name}-1", tenant=Tenant("acme"), memories=None, rights=frozenset({"admin"}), name=f"token:{name}")


ANN, BEN, CORA = somebody("ann"), somebody("ben"), somebody("cora")


@dataclass
class Place:
    """Records that processes share, what was done, and what the audit was told."""

    records: MemoryRecords = field(default_factory=MemoryRecords)
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    done: list[str] = field(default_factory=list)
    noted: list[Entry] = field(default_factory=list)
    failure: Exception | None = None

    def process(self) -> Approvals:
        """A process in which the operation is done by noting it."""

        async def act(approval: Approval) -> str:
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            self.done.append(approval.approval_id)
            return "as asked"

        async def note(entry: Entry, *, deadline: float) -> None:
            self.noted.append(entry)

        made = Approvals(required=["hand_over"], store=ApprovalStore(self.records), noted=note, clock=self.clock, expire_s=EXPIRE_S)
        made.perform(approvals.HAND_OVER, act, audited_as="memories.hand_over")
        return made

    async def asked(self, *, memory: str = "notes") -> str:
        """A request of Ann's."""
        made = await self.process().ask(ANN, approvals.HAND_OVER, memories=[memory], arguments={"to": "agent:x"})
        return made.approval_id


@pytest.fixture
def place() -> Place:
    """With nothing asked for yet."""
    return Place()


async def test_what_is_approved_is_done_once_and_audited_with_both(place: Place) -> None:
    """In any process; who asked is the actor and who approved stands beside."""
    asked = await place.asked()

    decided = await place.process().approve(BEN, asked)

    assert (decided.state, decided.result, place.done) == ("done", "as asked", [asked])
    (entry,) = place.noted
    assert (entry.actor, entry.approved_by, entry.operation, entry.memory, entry.request_id) == (
        "ann-1",
        "ben-1",
        "memories.hand_over",
        "notes",
        asked,
    )


async def test_what_nobody_decided_expires(place: Place) -> None:
    """To the second; then it can be asked for again, and is another one."""
    asked = await place.asked()
    await place.clock.advance(EXPIRE_S - 1)
    assert await place.asked() == asked
    await place.clock.advance(1)

    for decide in (place.process().approve, place.process().refuse):
        with pytest.raises(Conflict, match="expired"):
            await decide(BEN, asked)
    assert place.done == []
    assert await place.asked() != asked


async def test_of_many_decisions_at_once_one_counts(place: Place) -> None:
    """Whether for or against; the others are told, and it is done at most once."""
    for number in range(10):
        asked = await place.asked(memory=f"m{number}")
        processes = [place.process() for _ in range(4)]
        decisions = [one.approve(BEN, asked) for one in processes[:2]] + [one.refuse(CORA, asked) for one in processes[2:]]
        results = await asyncio.gather(*decisions, return_exceptions=True)

        assert [type(one) for one in results].count(Approval) == 1
        assert {type(one) for one in results} == {Approval, Conflict}
        assert place.done.count(asked) <= 1


async def test_what_was_refused_is_never_done(place: Place) -> None:
    """Nor decided again."""
    asked = await place.asked()
    assert (await place.process().refuse(BEN, asked)).state == "refused"

    with pytest.raises(Conflict, match="decided already"):
        await place.process().approve(CORA, asked)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(place.process().run())
        await place.clock.advance(10 * approving.GRACE_S)
        task.cancel()
    assert (place.done, place.noted) == ([], [])


@pytest.mark.parametrize("where", ["approval.after-decision", "approval.after-act"])
async def test_what_a_process_left_that_died_is_taken_up_by_another(place: Place, where: str) -> None:
    """Soon after, whether it had begun to act or not."""
    asked = await place.asked()
    failpoints.arm({where: "error"})
    with pytest.raises(failpoints.FailpointError):
        await place.process().approve(BEN, asked)
    failpoints.arm({})
    assert (await place.process().find(BEN, asked)).state == "approved"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(place.process().run())
        await place.clock.advance(approving.GRACE_S - 1)
        assert (await place.process().find(BEN, asked)).state == "approved"
        await place.clock.advance(1 + approving.LOOK_S)
        task.cancel()

    assert (await place.process().find(BEN, asked)).state == "done"
    assert place.done[-1:] == [asked]


async def test_an_act_that_cannot_be_done_now_waits_and_one_that_cannot_at_all_has_failed(place: Place) -> None:
    """Away is not refused."""
    waiting, failing = await place.asked(memory="a"), await place.asked(memory="b")
    place.failure = Unavailable("away", dependency="records")
    assert (await place.process().approve(BEN, waiting)).state == "approved"
    place.failure = NotFound("no memory 'b'")
    failed = await place.process().approve(BEN, failing)
    assert (failed.state, failed.error, place.noted[-1].outcome) == ("failed", "no memory 'b'", "not_found")

    place.failure = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(place.process().run())
        await place.clock.advance(approving.GRACE_S + approving.LOOK_S)
        task.cancel()

    assert place.done == [waiting]
    assert (await place.process().find(BEN, failing)).state == "failed"


async def test_too_many_that_wait_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until some are decided or have expired."""
    monkeypatch.setattr(approving, "PENDING_MOST", 3)
    for number in range(3):
        await place.asked(memory=f"m{number}")

    with pytest.raises(Throttled):
        await place.asked(memory="one-more")
    await place.clock.advance(EXPIRE_S)
    await place.asked(memory="one-more")


async def test_only_what_the_settings_name_waits(place: Place) -> None:
    """By its name."""
    made = place.process()

    assert [one for one in approvals.OPERATIONS if made.needs(one)] == [approvals.HAND_OVER]
