"""Retrying, reading and appending, without a network and without waiting."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kalends.client import errors, events, exchanges, requests
from kalends.client.exchanges import Answer, Flow, Pause, RetryPolicy
from kalends.client.requests import Request
from kalends.domain.positions import visibility_floors, visibility_token


class Clock:
    """Seconds that grow by the pauses that were kept."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


class Driver:
    """Drives a flow with a function from requests to answers or errors; keeps what was done."""

    def __init__(self, answer: Callable[[Request[Any], int], Answer | errors.ClientError], **policy: Any) -> None:
        self.clock = Clock()
        self.sent: list[Request[Any]] = []
        self.pauses: list[float] = []
        self.policy = RetryPolicy(now=self.clock.now, choose=random.Random(7), **policy)
        self._answer = answer

    def run(self, flow: Flow[Any]) -> Any:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.clock.seconds += step.seconds
                    step = flow.send(None)
                    continue
                self.sent.append(step)
                answer = self._answer(step, len(self.sent))
                step = flow.throw(answer) if isinstance(answer, errors.ClientError) else flow.send(answer)
        except StopIteration as stop:
            return stop.value


def ok(body: Any, *, status: int = 200) -> Answer:
    """A good answer."""
    return Answer(status=status, headers={}, content=msgspec.json.encode(body))


def refused(status: int, code: str, *, headers: dict[str, str] | None = None, **members: Any) -> Answer:
    """A problem."""
    body = {"code": code, "detail": "no", "title": code, "status": status} | members
    return Answer(status=status, headers=headers or {}, content=msgspec.json.encode(body))


STATUS = {"version": "1", "mode": "up", "state": "up"}


def test_a_busy_server_is_asked_again_until_it_answers():
    """Two refusals, then the answer."""
    driver = Driver(lambda _, number: refused(503, "unavailable", dependency="log") if number < 3 else ok(STATUS))

    found = driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert found.state == "up"
    assert len(driver.sent) == 3


def test_pauses_grow_and_never_undercut_what_the_server_asked_for():
    """The second answer wants seven seconds, although the back-off would be far shorter."""
    answers = [refused(503, "unavailable"), refused(429, "throttled", retry_after_s=7), ok(STATUS)]
    driver = Driver(lambda _, number: answers[number - 1])

    driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert driver.pauses[0] < 0.2
    assert driver.pauses[1] == 7


def test_the_retry_after_header_counts_where_the_body_says_nothing():
    """Proxies know only the header."""
    answers = [Answer(status=429, headers={"retry-after": "3"}, content=b"slow down"), ok(STATUS)]
    driver = Driver(lambda _, number: answers[number - 1])

    driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert driver.pauses == [3]


def test_the_last_error_is_raised_when_the_time_is_over():
    """And not a word is lost of which dependency it names."""
    driver = Driver(lambda _, __: refused(503, "unavailable", dependency="log"), total_s=10)

    with pytest.raises(errors.Unavailable) as caught:
        driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert caught.value.dependency == "log"
    assert 0 < sum(driver.pauses) <= 10


def test_a_policy_without_time_never_retries():
    """For callers that would rather know now."""
    driver = Driver(lambda _, __: refused(503, "unavailable"), total_s=0)

    with pytest.raises(errors.Unavailable):
        driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert len(driver.sent) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(400, "malformed"), (401, "unauthenticated"), (404, "not_found"), (409, "conflict"), (500, "internal")]
)
def test_what_will_not_change_is_not_asked_again(status, code):
    """A caller's mistake stays one, and a bug does not heal by being asked more often."""
    driver = Driver(lambda _, __: refused(status, code))

    with pytest.raises(errors.Problem) as caught:
        driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert (caught.value.status, caught.value.code) == (status, code)
    assert len(driver.sent) == 1


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.Unreachable(sent=False), True),
        (errors.Unreachable(sent=True), False),
        (errors.Throttled(), True),
        (errors.Unavailable(), False),
        (errors.DeadlineExceeded(), False),
    ],
)
def test_what_must_not_be_done_twice_is_only_retried_if_it_was_not_done(error, again):
    """A second token would be a credential that nobody knows of."""
    assert exchanges.worth_retrying(error, repeatable=False) is again
    assert exchanges.worth_retrying(error, repeatable=True) is True


def test_every_retry_is_told():
    """With its error and the pause before the next try."""
    told: list[tuple[str, float]] = []
    driver = Driver(
        lambda _, number: refused(504, "deadline_exceeded") if number == 1 else ok(STATUS),
        on_retry=lambda error, pause: told.append((error.code, pause)),
    )

    driver.run(exchanges.exchange(requests.get_status(), policy=driver.policy))

    assert told == [("deadline_exceeded", driver.pauses[0])]


def test_members_of_a_newer_server_are_ignored():
    """Clients are updated later than servers."""
    found = exchanges.read(requests.get_status(), ok(STATUS | {"moon_phase": "full"}))

    assert found.version == "1"


@pytest.mark.parametrize("content", [b"<html>hello</html>", b'{"version": 1}', b"\xff"])
def test_an_answer_against_the_contract_is_unreadable(content):
    """Something else listens there, or the server is older than this client."""
    with pytest.raises(errors.Unreadable):
        exchanges.read(requests.get_status(), Answer(status=200, headers={}, content=content))


def test_a_proxy_without_a_problem_body_still_gives_the_right_error():
    """A bad gateway is an outage, and is retried as one."""
    error = exchanges.problem(Answer(status=502, headers={}, content=b"<h1>Bad Gateway</h1>"))

    assert isinstance(error, errors.Unavailable)


def test_a_code_that_is_not_known_yet_falls_back_to_the_status():
    """New codes come within known statuses."""
    error = exchanges.problem(refused(404, "moved_to_the_moon"))

    assert isinstance(error, errors.NotFound)


def test_an_odd_status_is_no_answer_of_kalends():
    """A redirect means that the address is wrong."""
    assert isinstance(exchanges.problem(Answer(status=302, headers={}, content=b"")), errors.Unreadable)


def given(count: int) -> list[dict[str, Any]]:
    """Some events without ids."""
    return [{"text": f"event {number}", "session_id": "s"} for number in range(count)]


def accept(request: Request[Any], _: int) -> Answer:
    """Every event is new; the visibility is the number of the request's first event."""
    sent = msgspec.json.decode(request.body or b"")["events"]
    results = [{"event_id": event["event_id"], "status": "new"} for event in sent]
    sequence = int(sent[-1]["text"].split()[1]) if sent[-1]["text"].startswith("event ") else 1
    return ok({"results": results, "visibility": visibility_token({"EVENTS_0": sequence})}, status=202)


def test_many_events_travel_in_requests_of_at_most_500():
    """In order, none twice, none missing."""
    driver = Driver(accept)

    receipt = driver.run(exchanges.append("m", given(1201), policy=driver.policy))

    sizes = [len(msgspec.json.decode(request.body)["events"]) for request in driver.sent]
    assert sizes == [500, 500, 201]
    assert len(set(receipt.event_ids)) == 1201


def test_the_visibility_of_all_requests_is_the_highest_of_each():
    """Waiting for it means waiting for all of them."""
    driver = Driver(accept)

    receipt = driver.run(exchanges.append("m", given(600), policy=driver.policy))

    assert visibility_floors(receipt.visibility) == {"EVENTS_0": 599}


def test_a_visibility_that_cannot_be_read_is_passed_on():
    """It is opaque; a newer server may write it otherwise."""
    answer = {"results": [{"event_id": "0" * 26, "status": "new"}], "visibility": "~v2~"}
    driver = Driver(lambda _, __: ok(answer, status=202))

    assert driver.run(exchanges.append("m", given(1), policy=driver.policy)).visibility == "~v2~"


def test_a_retry_sends_the_same_ids():
    """The first answer is lost after the server may have stored the events."""
    driver = Driver(lambda request, number: errors.Unreachable("reset") if number == 1 else accept(request, number))

    driver.run(exchanges.append("m", given(3), policy=driver.policy))

    assert driver.sent[0].body == driver.sent[1].body


def test_rejected_events_raise_with_every_result():
    """The good one is stored, and the error says so."""
    body = {
        "results": [
            {"event_id": "0" * 26, "status": "new"},
            {"event_id": "1" * 26, "status": "rejected", "error": {"pointer": "/events/1/kind", "detail": "bad", "code": "vocabulary"}},
        ],
        "visibility": "",
    }
    driver = Driver(lambda _, __: ok(body, status=202))

    with pytest.raises(errors.EventsRejected) as caught:
        driver.run(exchanges.append("m", given(2), policy=driver.policy))

    assert [result.status for result in caught.value.results] == ["new", "rejected"]
    assert "1 of 2" in caught.value.detail


def test_a_refused_request_rejects_its_events_and_not_their_neighbours():
    """The second request of three holds no good event; the server answers it with 422."""

    def answer(request: Request[Any], number: int) -> Answer:
        if number != 2:
            return accept(request, number)
        faults = [{"pointer": f"/events/{place}/kind", "detail": "bad", "code": "vocabulary"} for place in range(500)]
        return refused(422, "invalid", errors=faults)

    driver = Driver(answer)

    receipt = driver.run(exchanges.append("m", given(1001), policy=driver.policy, raise_on_rejected=False))

    assert [result.status for result in receipt.results] == ["new"] * 500 + ["rejected"] * 500 + ["new"]
    assert receipt.results[500].error.pointer == "/events/500/kind"


def test_a_refusal_that_is_not_about_events_is_raised():
    """Pointers elsewhere blame no event."""
    driver = Driver(lambda _, __: refused(422, "invalid", errors=[{"pointer": "/memory", "detail": "bad", "code": "name"}]))

    with pytest.raises(errors.Invalid):
        driver.run(exchanges.append("m", given(2), policy=driver.policy, raise_on_rejected=False))


def test_an_event_that_no_request_can_carry_is_rejected_here():
    """A lone surrogate and a giant between two good events."""
    events_ = [*given(1), {"text": "\ud800", "session_id": "s"}, {"text": "x" * 4_000_000, "session_id": "s"}, *given(1)]
    driver = Driver(accept)

    receipt = driver.run(exchanges.append("m", events_, policy=driver.policy, raise_on_rejected=False))

    assert [result.status for result in receipt.results] == ["new", "rejected", "rejected", "new"]
    assert [result.error.code for result in receipt.results[1:3]] == ["character", "too_large"]
    assert len(driver.sent) == 1


def test_large_events_are_split_by_size():
    """Forty events of 250 kB need three requests."""
    driver = Driver(accept)
    large = [{"text": "x" * 250_000, "session_id": "s"} for _ in range(40)]

    driver.run(exchanges.append("m", large, policy=driver.policy))

    assert all(len(request.body) <= events.BYTES_OF_A_REQUEST + 20 for request in driver.sent)
    assert len(driver.sent) == 3


def test_an_interrupted_append_says_what_is_stored_and_what_is_left():
    """The second request fails for good: the first 500 are dealt with, the others come back with their ids."""
    driver = Driver(lambda request, number: accept(request, number) if number == 1 else refused(403, "forbidden"))

    with pytest.raises(errors.Forbidden) as caught:
        driver.run(exchanges.append("m", given(1100), policy=driver.policy))

    assert len(caught.value.results) == 500
    assert len(caught.value.pending) == 600
    assert all(len(event["event_id"]) == 26 for event in caught.value.pending)


def test_fewer_results_than_events_are_unreadable():
    """Guessing which event is meant would lose one."""
    driver = Driver(lambda _, __: ok({"results": [], "visibility": ""}, status=202))

    with pytest.raises(errors.Unreadable):
        driver.run(exchanges.append("m", given(1), policy=driver.policy))


def test_a_single_event_need_not_be_in_a_list():
    """A frequent slip that has one obvious meaning."""
    driver = Driver(accept)

    receipt = driver.run(exchanges.append("m", events.NewEvent(text="event 1", session_id="s"), policy=driver.policy))

    assert len(receipt.results) == 1


def operation(state: str, done: int) -> dict[str, Any]:
    """An operation as the server tells it."""
    return {"operation_id": "o1", "kind": "reindex", "state": state, "done": done, "total": 4}


def test_waiting_ends_with_the_operation():
    """Everything on the way is told."""
    seen: list[int] = []
    states = [operation("queued", 0), operation("running", 2), operation("succeeded", 4)]
    driver = Driver(lambda _, number: ok(states[number - 1]))

    found = driver.run(exchanges.wait_for("o1", policy=driver.policy, timeout_s=60, on_progress=lambda op: seen.append(op.done)))

    assert found.state == "succeeded"
    assert seen == [0, 2, 4]


def test_waiting_has_an_end_of_its_own():
    """The operation goes on; the caller is told so."""
    driver = Driver(lambda _, __: ok(operation("running", 1)))

    with pytest.raises(errors.WaitedTooLong):
        driver.run(exchanges.wait_for("o1", policy=driver.policy, timeout_s=5))

    assert driver.clock.seconds <= 5
