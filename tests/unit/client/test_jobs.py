"""Jobs in the SDK: what is sent, and what comes back."""

from datetime import UTC, datetime

import httpx
import pytest
from tests.support.answers import PreparedServer, problem

from kalends import client
from kalends.client import AsyncKalends, Kalends, RetryPolicy

URL = "http://127.0.0.1:7410"
JOB = {
    "job_name": "toc-day",
    "cron": "0 */15 * * * *",
    "is_paused": False,
    "is_running": True,
    "last_run_at": "2026-03-01T12:00:00Z",
    "next_run_at": None,
    "run_count": 3,
    "error_count": 1,
    "last_result": "FAILED",
    "last_error": "not done within 60 s",
    "last_duration_s": 60.0,
    "checkpoint": None,
    "a_member_of_a_newer_server": 1,
}
ACTIONS = {"pause_job": "pause", "resume_job": "resume", "run_job": "run", "reset_job_checkpoint": "reset-checkpoint"}


def test_jobs_are_listed_with_every_field():
    """Times are moments, and what is not there is None."""
    server = PreparedServer(httpx.Response(200, json={"items": [JOB], "next_cursor": None}))

    [job] = Kalends(URL, token="kal_t", through=server.transport).scheduler_jobs()

    assert (server.requests[0].method, server.requests[0].url.path) == ("GET", "/v1/scheduler/jobs")
    assert (job.job_name, job.is_running, job.run_count, job.error_count) == ("toc-day", True, 3, 1)
    assert job.last_run_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (job.last_result, job.last_error, job.last_duration_s) == ("FAILED", "not done within 60 s", 60.0)
    assert job.next_run_at is job.checkpoint is None


@pytest.mark.parametrize(("method", "action"), ACTIONS.items())
def test_each_verb_is_a_route_of_the_job(method, action):
    """A name from outside stays one part of the path."""
    server = PreparedServer(httpx.Response(202, json=JOB))

    job = getattr(Kalends(URL, token="kal_t", through=server.transport), method)("a/b")

    assert (server.requests[0].method, server.requests[0].url.raw_path.decode()) == ("POST", f"/v1/scheduler/jobs/a%2Fb/{action}")
    assert job.job_name == "toc-day"


async def test_the_asynchronous_client_has_the_same_verbs():
    """And the same list."""
    answers = [httpx.Response(202, json=JOB) for _ in ACTIONS] + [httpx.Response(200, json={"items": [JOB]})]
    server = PreparedServer(*answers)

    async with AsyncKalends(URL, token="kal_t", through=server.transport) as kalends:
        for method in ACTIONS:
            await getattr(kalends, method)("toc-day")
        listed = await kalends.scheduler_jobs()

    assert [job.job_name for job in listed] == ["toc-day"]
    asked = [request.url.path.removeprefix("/v1/scheduler/jobs") for request in server.requests]
    assert asked == [*(f"/toc-day/{action}" for action in ACTIONS.values()), ""]


def test_asking_is_repeated_when_the_answer_is_lost():
    """A run that is asked for twice is at worst done twice, which changes nothing."""
    server = PreparedServer(httpx.ReadError("lost"), problem(503, "unavailable"), httpx.Response(202, json=JOB))

    Kalends(URL, token="kal_t", through=server.transport, sleep=lambda _: None).run_job("toc-day")

    assert len(server.requests) == 3


def test_a_job_that_does_not_exist_is_not_found():
    """With the error that callers know."""
    server = PreparedServer(problem(404, "not_found", detail="no such job"))

    with pytest.raises(client.NotFound):
        Kalends(URL, token="kal_t", through=server.transport, retry=RetryPolicy(total_s=0)).pause_job("nightly")
