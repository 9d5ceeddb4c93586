"""The group ``scheduler`` of the command line."""

import json
from io import StringIO

import httpx
import pytest
from rich.console import Console
from tests.support.answers import PreparedServer, problem

from kalends import client
from kalends.app import cli
from kalends.app.commands import scheduler
from kalends.client import Job

URL = "http://127.0.0.1:7410"
JOB = {
    "job_name": "toc-day",
    "cron": "0 */15 * * * *",
    "is_paused": False,
    "is_running": False,
    "last_run_at": "2026-03-01T12:00:01Z",
    "next_run_at": "2026-03-01T12:15:00Z",
    "run_count": 1300,
    "error_count": 1,
    "last_result": "SUCCESS",
    "last_error": None,
    "last_duration_s": 0.0123456,
    "checkpoint": "2026-03-01T12:00:00+00:00",
}


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Give the command line a prepared server."""
    monkeypatch.setenv("KALENDS_DATA", str(tmp_path))
    (tmp_path / "instance.json").write_text(json.dumps({"url": URL, "ops_url": URL, "pid": 0}))
    (tmp_path / "token").write_text("kal_t")

    def prepare(*answers: httpx.Response) -> PreparedServer:
        server = PreparedServer(*answers)
        original = client.Kalends

        def connect(*arguments, **options):
            return original(*arguments, **options, through=server.transport, sleep=lambda _: None)

        monkeypatch.setattr(client, "Kalends", connect)
        return server

    return prepare


def printed(*jobs: Job) -> str:
    """The status as people see it."""
    paper = StringIO()
    scheduler._show(Console(file=paper, width=160), list(jobs))
    return paper.getvalue()


def test_the_status_in_a_pipe_is_json_with_every_field(served, capsys):
    """In the words of the contract."""
    served(httpx.Response(200, json={"items": [JOB], "next_cursor": None}))

    assert cli.run(["scheduler", "status"]) == 0
    [job] = json.loads(capsys.readouterr().out)["items"]
    assert set(job) == set(JOB)
    assert (job["job_name"], job["run_count"], job["last_result"]) == ("toc-day", 1300, "SUCCESS")


@pytest.mark.parametrize("action", ["pause", "resume", "run", "reset-checkpoint"])
def test_each_action_is_asked_of_its_route(served, capsys, action):
    """And prints the job as it is afterwards."""
    server = served(httpx.Response(202, json=JOB))

    assert cli.run(["scheduler", action, "toc-day", "--json"]) == 0
    assert (server.requests[0].method, server.requests[0].url.path) == ("POST", f"/v1/scheduler/jobs/toc-day/{action}")
    assert json.loads(capsys.readouterr().out)["job_name"] == "toc-day"


def test_a_job_that_does_not_exist_is_not_found(served, capsys):
    """Exit code 3, and nothing on standard output."""
    served(problem(404, "not_found", detail="no such job"))

    assert cli.run(["scheduler", "pause", "nightly"]) == 3
    assert capsys.readouterr() == ("", "kalends: no such job\n")


def test_an_action_without_a_job_is_a_usage_error(served):
    """Nothing was sent."""
    server = served(httpx.Response(200, json=JOB))

    assert cli.run(["scheduler", "pause"]) == 2
    assert server.requests == []


def test_people_see_a_table_and_below_it_what_went_wrong():
    """An error may hold brackets, or what a terminal would obey; both are shown and neither is heeded."""
    good = Job(job_name="toc-day", cron="0 */15 * * * *", run_count=1300, last_result="SUCCESS", last_duration_s=0.0123456)
    bad = Job(job_name="sweep", is_paused=True, last_result="FAILED", last_error="[bold]nobody\x1b[2J serves sweep")

    told = printed(good, bad, Job(job_name="new", is_running=True))

    lines = told.splitlines()
    assert lines[0].split()[:3] == ["job", "cron", "(UTC)"]
    assert lines[1].split() == ["toc-day", "0", "*/15", "*", "*", "*", "*", "ready", "SUCCESS", "1,300", "0", "0.0123"]
    assert lines[2].split() == ["sweep", "paused", "FAILED", "0", "0"]
    assert lines[3].split() == ["new", "running", "0", "0"]
    assert lines[4] == "sweep: [bold]nobody\ufffd[2J serves sweep"
