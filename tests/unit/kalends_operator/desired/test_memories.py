"""AgentMemory's planner: it converges from anywhere, and loses nothing on the way."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kalends_operator.desired.worlds import CLAIM, NOW, World, spec_of

from kalends_operator.desired import memories
from kalends_operator.desired.memories import MemorySpec
from kalends_operator.desired.seen import SeenBackup, SeenErasure, SeenMemory, SeenSecret
from kalends_operator.desired.steps import (
    ChangeMemory,
    CreateMemory,
    HandOver,
    IssueToken,
    RegisterAgent,
    RemoveFinalizer,
    RevokeToken,
    RotateToken,
    StartBackup,
    StartErasure,
    WriteSecret,
)

SPECS = st.builds(
    spec_of,
    isolation=st.sampled_from(["shared", "dedicated"]),
    quota=st.sampled_from([{}, {"events": 10}, {"events": 5, "bytes": 1000}]),
    retention=st.sampled_from([None, {"max_age_days": 30}, {}]),
    redaction=st.sampled_from([{}, {"email": "mask"}]),
    role=st.sampled_from(["reader", "writer", "curator"]),
    rotate_wish=st.sampled_from(["", "now", "again"]),
)


def settled(spec: MemorySpec) -> World:
    """A world in which everything is as the spec says."""
    world = World()
    assert world.settle(spec)
    return world


def one_of_each(world: World) -> bool:
    """Whether there is one token and one agent, and the Secret is theirs."""
    secret = world.secret
    return secret is not None and [*world.tokens] == [secret.token_id] and [*world.agents] == [secret.agent_id]


def test_a_new_resource_gets_its_memory_a_key_a_token_and_a_secret():
    """A new resource gets its memory a key a token and a secret."""
    assert [type(step) for step in World().plan(spec_of())] == [CreateMemory, RegisterAgent, IssueToken, WriteSecret]


@given(SPECS)
def test_a_plan_on_a_converged_world_is_empty(spec: MemorySpec):
    """A plan on a converged world is empty."""
    world = settled(spec)

    assert world.plan(spec) == ()
    assert one_of_each(world)


@given(SPECS, st.lists(st.tuples(SPECS, st.integers(0, 8), st.integers(0, 200)), max_size=5), st.booleans())
def test_from_any_interrupted_prefix_it_converges_to_one_of_each(
    spec: MemorySpec,
    cuts: list[tuple[MemorySpec, int, int]],
    lost_secret: bool,  # noqa: FBT001 - hypothesis chooses it
):
    """Each cut: another spec, a plan of which only so many steps were done, so many hours later."""
    world = World()
    for asked, done, hours in cuts:
        wanted = replace(asked, isolation=spec.isolation)
        world.do(wanted, world.plan(wanted)[:done])
        world.now += timedelta(hours=hours)
    if lost_secret:
        world.secret = None

    assert world.settle(spec)
    assert world.plan(spec) == ()
    world.now += timedelta(seconds=spec.overlap_s + 1)
    assert world.settle(replace(spec, rotate_every=None))
    assert one_of_each(world)


@given(SPECS)
def test_a_secret_is_never_written_again_with_the_same_credentials(spec: MemorySpec):
    """Only what it says besides may be refreshed, and then for a reason."""
    world = settled(spec)
    before = len(world.done)

    for _ in range(5):
        world.now += timedelta(hours=2)
        assert world.settle(spec)

    assert [step for step in world.done[before:] if isinstance(step, WriteSecret)] == []


@pytest.mark.parametrize("policy", ["Retain", "Snapshot"])
@given(spec=SPECS, cut=st.integers(0, 6))
def test_data_that_is_to_stay_is_never_erased(policy: memories.DeletionPolicy, spec: MemorySpec, cut: int):
    """Data that is to stay is never erased."""
    wanted = replace(spec, deletion_policy=policy)
    world = World()
    world.do(wanted, world.plan(wanted)[:cut])
    world.deleting_since = NOW
    assert world.settle(wanted)
    world.backups = {key: replace(one, state="succeeded") for key, one in world.backups.items()}

    assert world.settle(wanted)

    assert not any(isinstance(step, StartErasure) for step in world.done)
    assert world.gone
    assert not world.tokens
    assert not world.agents


@given(st.lists(st.integers(0, 4), max_size=4))
def test_a_resource_is_one_erasure_however_often_it_is_cut_off(cuts: list[int]):
    """A resource is one erasure however often it is cut off."""
    spec = spec_of(deletion_policy="Erase")
    world = settled(spec)
    world.deleting_since = NOW
    for cut in cuts:
        world.do(spec, world.plan(spec)[:cut])
    assert world.settle(spec)
    assert not world.gone

    assert [*world.erasures] == ["u-1"]
    world.erasures["u-1"] = replace(world.erasures["u-1"], state="erased")
    world.memory = None
    assert world.settle(spec)
    assert world.gone
    assert {step.key for step in world.done if isinstance(step, StartErasure)} == {"u-1"}


def test_the_finalizer_stays_until_there_is_a_receipt():
    """The finalizer stays until there is a receipt."""
    spec = spec_of(deletion_policy="Erase")
    world = settled(spec)
    world.deleting_since = NOW
    world.settle(spec)
    world.erasures["u-1"] = SeenErasure(erasure_id="e", state="unreadable")

    assert not any(isinstance(step, RemoveFinalizer) for step in world.plan(spec))


def test_a_snapshot_is_waited_for_before_anything_ends():
    """A snapshot is waited for before anything ends."""
    spec = spec_of(deletion_policy="Snapshot")
    world = settled(spec)
    world.deleting_since = NOW

    assert [type(step) for step in world.plan(spec)] == [StartBackup]
    world.backups["u-1-snapshot"] = SeenBackup(operation_id="b", state="running")
    assert world.settle(spec)
    assert one_of_each(world)


def test_abandoning_is_honoured_only_after_its_time():
    """Abandoning is honoured only after its time."""
    spec = spec_of(deletion_policy="Erase")
    world = settled(spec)
    world.deleting_since, world.abandon = NOW, True

    assert not any(isinstance(step, RemoveFinalizer) for step in world.plan(spec))
    world.now = NOW + timedelta(seconds=600)
    assert world.plan(spec)[-1] == RemoveFinalizer()
    assert StartErasure not in [type(step) for step in world.plan(spec)]


def test_what_was_changed_by_hand_is_set_again_and_nothing_else():
    """What was changed by hand is set again and nothing else."""
    spec = spec_of(quota={"events": 10})
    world = settled(spec)
    assert world.memory is not None
    world.memory = replace(world.memory, quota={"events": 99})

    assert world.plan(spec) == (ChangeMemory(memory="notes", changes={"quota": {"events": 10}}, by_hand=False),)


def test_defaults_that_kalends_writes_out_are_no_drift():
    """Defaults that kalends writes out are no drift."""
    spec = spec_of(retention={"max_age_days": 30})
    world = settled(spec)
    assert world.memory is not None
    written = {"max_age_days": 30, "max_events": None, "kinds": {}, "pinned_kinds": [], "session_only": False}
    world.memory = replace(world.memory, retention=written)

    assert world.plan(spec) == ()


@pytest.mark.parametrize("retention", [None, {}])
def test_no_retention_and_an_empty_one_differ(retention: dict[str, int] | None):
    """One says nothing, and Kalends' default holds; the other keeps everything."""
    spec = spec_of(retention=retention)
    world = settled(spec)
    assert world.memory is not None
    world.memory = replace(world.memory, retention={} if retention is None else None)

    assert [type(step) for step in world.plan(spec)] == [ChangeMemory]


def test_a_secret_of_somebody_else_is_left_alone():
    """A secret of somebody else is left alone."""
    world = World(secret=SeenSecret(ours=False))

    assert world.plan(spec_of()) == ()
    assert memories.blocked(spec_of(), world.seen()) is not None


@pytest.mark.parametrize("description", ["", "mine", "[kubernetes - other/notes]", "[kubernetes east acme/notes]"])
@pytest.mark.parametrize("deleting", [False, True])
def test_a_memory_that_is_not_the_resources_is_neither_opened_nor_erased(description: str, deleting: bool):  # noqa: FBT001 - a parameter
    """A memory that is not the resources is neither opened nor erased."""
    spec = spec_of(deletion_policy="Erase")
    world = World(memory=SeenMemory(isolation="shared", description=description), deleting_since=NOW if deleting else None)

    assert all(isinstance(step, RemoveFinalizer) for step in world.plan(spec))


def test_a_memory_that_was_retained_is_opened_again_by_the_same_resource():
    """A memory that was retained is opened again by the same resource."""
    world = World(memory=SeenMemory(isolation="shared", description=f"old words\n{CLAIM}"))

    assert [type(step) for step in world.plan(spec_of())] == [ChangeMemory, RegisterAgent, IssueToken, WriteSecret]


def test_credentials_are_rotated_when_they_are_due_and_the_old_ones_end_later():
    """Credentials are rotated when they are due and the old ones end later."""
    spec = spec_of()
    world = settled(spec)
    assert world.secret is not None
    old = world.secret.token_id
    world.now += timedelta(days=90)

    assert [type(step) for step in world.plan(spec)] == [RegisterAgent, RotateToken, WriteSecret]
    assert world.settle(spec)
    assert old in world.tokens
    assert len(world.agents) == 2
    world.now += timedelta(seconds=3601)
    assert world.settle(spec)
    assert one_of_each(world)


def test_a_wish_to_rotate_is_met_once():
    """A wish to rotate is met once."""
    spec = spec_of()
    world = settled(spec)
    wished = replace(spec, rotate_wish="leaked")

    assert RotateToken in [type(step) for step in world.plan(wished)]
    assert world.settle(wished)
    assert world.plan(wished) == ()


def test_a_rotation_whose_successor_was_lost_does_not_cut_off_the_pod():
    """Revoking the successor would end the token that the pod has; both end later, and the pod has a new one by then."""
    spec = spec_of()
    world = settled(spec)
    assert world.secret is not None
    old = world.secret.token_id
    world.now += timedelta(days=90)
    world.do(spec, world.plan(spec)[:2])

    assert world.settle(spec)

    assert old in world.tokens
    assert world.secret.token_id not in (old, world.tokens[old].replaced_by)


def test_a_lesser_role_ends_what_may_more_at_once():
    """A lesser role ends what may more at once."""
    world = settled(spec_of(role="curator"))

    assert world.settle(spec_of(role="reader"))
    assert world.settle(spec_of(role="reader"))

    assert one_of_each(world)
    assert {one.role for one in world.tokens.values()} == {"reader"}


def test_an_edited_secret_gets_new_credentials():
    """An edited secret gets new credentials."""
    spec = spec_of()
    world = settled(spec)
    assert world.secret is not None
    before = world.secret.token_id
    world.secret = replace(world.secret, intact=False, current=False)

    assert world.settle(spec)
    assert world.secret.token_id != before


def test_a_hand_over_ends_every_credential_of_the_resource():
    """A hand over ends every credential of the resource."""
    spec = spec_of()
    world = settled(spec)
    given_away = replace(spec, hand_over_to="agent:X")

    assert world.settle(given_away)

    assert not world.tokens
    assert not world.agents
    assert world.secret is not None
    assert not world.secret.opens
    assert world.plan(given_away) == ()


def test_a_hand_over_by_hand_is_no_drift():
    """Somebody decided it; the operator takes nothing back."""
    spec = spec_of()
    world = settled(spec)
    assert world.memory is not None
    world.memory = replace(world.memory, owner="token:T")

    assert world.plan(spec) == ()


def test_a_hand_over_is_mended_to_whom_the_spec_says():
    """A hand over is mended to whom the spec says."""
    spec = spec_of(hand_over_to="agent:X")
    world = settled(spec)
    assert world.memory is not None
    world.memory = replace(world.memory, owner="token:T")

    assert [type(step) for step in world.plan(spec)] == [HandOver]


def test_a_token_that_was_revoked_by_hand_is_made_anew():
    """A token that was revoked by hand is made anew."""
    spec = spec_of()
    world = settled(spec)
    world.tokens.clear()

    assert IssueToken in [type(step) for step in world.plan(spec)]
    assert RevokeToken not in [type(step) for step in world.plan(spec)]
    assert world.settle(spec)
    world.now += timedelta(seconds=3601)
    assert world.settle(spec)
    assert one_of_each(world)
