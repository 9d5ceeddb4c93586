"""What is shown of an AgentMemory: true, complete, and honest about what is not known."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.kalends_operator.desired.worlds import LIMITS, NOW, World, spec_of

from kalends.domain.errors import Forbidden, KalendsError, Unavailable
from kalends_operator.crds.memories import AgentMemoryStatus
from kalends_operator.desired import memories
from kalends_operator.desired.memories import MemorySpec, Seen
from kalends_operator.desired.memory_status import Shown, Surroundings, log_intact, shown
from kalends_operator.desired.seen import SeenErasure, SeenSecret

AROUND = Surroundings(endpoints={"http": "https://k"}, tenant="local", subject_prefix="kalends.v1.local.notes", log_intact=True)


def show(
    spec: MemorySpec,
    seen: Seen,
    *,
    around: Surroundings = AROUND,
    before: Mapping[str, Any] | None = None,
    trouble: KalendsError | None = None,
) -> Shown:
    """What is shown, given the steps that the planner wants."""
    steps = memories.plan(spec, seen, now=NOW, limits=LIMITS)
    return shown(spec, seen, steps, around, before=before or {}, generation=2, trouble=trouble, now=NOW, limits=LIMITS)


def settled(spec: MemorySpec) -> Seen:
    """What is seen once everything is as the spec says."""
    world = World()
    assert world.settle(spec)
    return world.seen()


def condition(told: Shown, type_: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    found = next(one for one in told.status["conditions"] if one["type"] == type_)
    return found["status"], found["reason"]


def test_a_settled_memory_is_ready():
    """And what is shown has no field that the CRD lacks, which the API server would refuse."""
    spec = spec_of()
    told = show(spec, settled(spec))

    assert (told.phase, condition(told, "Ready")[0]) == ("Ready", "True")
    assert set(told.status) <= set(AgentMemoryStatus.__struct_encode_fields__)
    assert not told.under_way


def test_while_something_is_to_be_done_it_is_not_ready():
    """The next look comes soon."""
    told = show(spec_of(), World().seen())

    assert condition(told, "Ready") == ("False", "Progressing")
    assert told.under_way


@pytest.mark.parametrize(("trouble", "expected"), [(Unavailable("away"), "Unknown"), (Forbidden("no"), "False")])
def test_in_trouble_what_was_known_stays(trouble: KalendsError, expected: str):
    """An outage is not known to be harm; a refusal is."""
    spec = spec_of(quota={"events": 1})
    before = show(spec, settled(spec)).status
    told = show(spec, Seen(uid="u-1"), before=before, trouble=trouble)

    assert condition(told, "Ready")[0] == expected
    assert condition(told, "QuotaExceeded") == ("False", "Within")
    assert told.status["tokenId"] == before["tokenId"]
    assert told.phase == "Degraded"


def test_a_full_memory_is_ready_and_says_that_it_is_full():
    """It can be searched."""
    spec = spec_of(quota={"events": 5})
    seen = settled(spec)
    assert seen.memory is not None
    told = show(spec, replace(seen, memory=replace(seen.memory, counts={"events": 5})))

    assert condition(told, "QuotaExceeded") == ("True", "Full")
    assert condition(told, "Ready")[0] == "True"


def test_what_kalends_alone_decides_is_not_pretended():
    """Accounts and models are settings of the whole of Kalends."""
    spec = spec_of(service_accounts=("agent",), models={"embedder": "bge"})
    seen = settled(spec)

    assert condition(show(spec, seen), "AccountsMapped") == ("Unknown", "SetInKalends")
    others = replace(AROUND, models={"embedder": "e5"})
    assert condition(show(spec, seen, around=others), "ModelsServed") == ("False", "OthersServed")
    same = replace(AROUND, models={"embedder": "bge small"})
    assert condition(show(spec, seen, around=same), "ModelsServed") == ("True", "AsNamed")


def test_an_index_that_is_behind_is_named():
    """So that one knows which."""
    spec = spec_of()
    seen = settled(spec)
    assert seen.memory is not None
    told = show(spec, replace(seen, memory=replace(seen.memory, lag={"vector": (9, 61.0), "lexical": (0, 0.0)})))

    assert condition(told, "IndexesCurrent") == ("False", "Behind")
    assert "vector" in str(told.status["conditions"])


@pytest.mark.parametrize(
    ("erasure", "expected"),
    [
        (SeenErasure(held="the hold court keeps it"), ("False", "UnderHold")),
        (SeenErasure(state="waiting", approval_id="ap", approval_state="pending"), ("True", "ApprovalPending")),
        (SeenErasure(state="waiting", approval_id="ap", approval_state="refused"), ("False", "ApprovalRefused")),
        (SeenErasure(erasure_id="e", state="unreadable"), ("True", "Unreadable")),
        (SeenErasure(erasure_id="e", state="erased"), ("False", "Erased")),
    ],
)
def test_how_far_an_erasure_is_is_said(erasure: SeenErasure, expected: tuple[str, str]):
    """Also what it waits for."""
    spec = spec_of(deletion_policy="Erase")
    told = show(spec, replace(settled(spec), deleting_since=NOW, erasure=erasure))

    assert condition(told, "Erasing") == expected
    assert told.phase == "Deleting"


def test_what_belongs_to_somebody_else_is_a_failure_that_says_so():
    """Nothing is done until somebody decides."""
    told = show(spec_of(), World(secret=SeenSecret(ours=False)).seen())

    assert (told.phase, condition(told, "Ready")) == ("Failed", ("False", "SecretTaken"))


@pytest.mark.parametrize(
    ("states", "intact"),
    [
        ({"log": "up", "archive": "up", "vector": "down"}, True),
        ({"log": "up", "archive": "degraded"}, True),
        ({"log": "up", "archive": "down"}, False),
        ({"log": "down"}, False),
        ({"vector": "up"}, None),
    ],
)
def test_the_log_is_intact_while_it_is_up_and_no_check_of_its_archive_found_a_break(states, intact):
    """An archive that cannot be written now is no break."""
    assert log_intact(states) is intact
