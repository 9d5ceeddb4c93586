"""MemoryErasure: asked for once, followed to its receipt, and honest about what stops it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kalends.domain.errors import Unavailable
from kalends_operator.desired import erasures
from kalends_operator.desired.erasures import ErasureSpec
from kalends_operator.desired.seen import SeenErasure
from kalends_operator.desired.steps import AwaitErasure, RemoveFinalizer, StartErasure

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = ErasureSpec(memory="notes", options={"session_id": "a"})


def shown(seen: SeenErasure | None, *, spec: ErasureSpec = SPEC, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The status."""
    return erasures.shown(spec, seen, before=before or {}, generation=1, trouble=None, now=NOW)[0]


def condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """One condition of a status."""
    found: Mapping[str, Any] = next(one for one in status["conditions"] if one["type"] == type_)
    return found


def test_it_is_asked_for_with_the_uid_as_its_key():
    """It is asked for with the uid as its key."""
    expected = StartErasure(memory="notes", key="u-1", options={"session_id": "a"})

    assert erasures.plan(SPEC, uid="u-1", seen=None, deleting=False) == (expected,)


def test_what_is_under_way_is_waited_for():
    """What is under way is waited for."""
    seen = SeenErasure(erasure_id="e", state="hidden")

    assert erasures.plan(SPEC, uid="u-1", seen=seen, deleting=False) == (AwaitErasure(erasure_id="e"),)


def test_once_erased_nothing_is_left_and_the_receipt_is_shown():
    """Once erased nothing is left and the receipt is shown."""
    seen = SeenErasure(erasure_id="e", state="erased", receipt={"id": "e"}, counts={"events": 2})
    status = shown(seen)

    assert erasures.plan(SPEC, uid="u-1", seen=seen, deleting=False) == ()
    assert json.loads(status["receipt"]) == {"id": "e"}
    assert condition(status, "Complete")["status"] == "True"


def test_what_may_not_be_asked_for_is_never_asked():
    """What may not be asked for is never asked."""
    spec = ErasureSpec(memory="", options={}, refusal="there is no such AgentMemory")

    assert erasures.plan(spec, uid="u-1", seen=None, deleting=False) == ()
    assert shown(None, spec=spec)["state"] == "failed"


def test_a_hold_is_said_and_asked_about_again():
    """A hold is said and asked about again."""
    seen = SeenErasure(held="the hold court keeps it")

    assert [type(step) for step in erasures.plan(SPEC, uid="u-1", seen=seen, deleting=False)] == [StartErasure]
    assert condition(shown(seen), "Held")["message"] == "the hold court keeps it"


def test_a_second_person_who_is_awaited_is_named_by_the_approval():
    """A second person who is awaited is named by the approval."""
    status = shown(SeenErasure(state="waiting", approval_id="ap-1", approval_state="pending"))

    assert status["state"] == "waiting"
    assert condition(status, "Approved")["message"].endswith("ap-1")


def test_a_refusal_of_the_second_person_is_the_end():
    """A refusal of the second person is the end."""
    assert shown(SeenErasure(state="waiting", approval_id="ap-1", approval_state="refused"))["state"] == "failed"


def test_deleting_the_resource_stops_nothing_and_waits_for_nothing():
    """Deleting the resource stops nothing and waits for nothing."""
    assert erasures.plan(SPEC, uid="u-1", seen=SeenErasure(erasure_id="e", state="hidden"), deleting=True) == (RemoveFinalizer(),)


def test_what_was_known_stays_during_an_outage():
    """What was known stays during an outage."""
    before = shown(SeenErasure(erasure_id="e", state="hidden"))
    status, _ = erasures.shown(SPEC, None, before=before, generation=1, trouble=Unavailable("away"), now=NOW)

    assert (status["erasureId"], status["state"]) == ("e", "hidden")
    assert condition(status, "Complete")["status"] == "Unknown"
