"""The command line without a server: options, exit codes, what is said and where."""

import json
import os
import re
import subprocess
import sys

import click
import httpx
import pytest
from tests.support.answers import PreparedServer, problem, receipt

from kalends import client
from kalends.app import cli
from kalends.app.invocation import Invocation

URL = "http://127.0.0.1:7410"


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch, tmp_path):
    """Neither variables nor a running instance of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("KALENDS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KALENDS_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instance.json").write_text(json.dumps({"url": URL, "ops_url": URL, "pid": 0}))
    (tmp_path / "data" / "token").write_text("kal_t")


@pytest.fixture
def served(monkeypatch):
    """Give the command line a prepared server."""

    def prepare(*answers: httpx.Response | Exception) -> PreparedServer:
        server = PreparedServer(*answers)
        original = client.Kalends

        def connect(*arguments, **options):
            return original(*arguments, **options, through=server.transport, sleep=lambda _: None)

        monkeypatch.setattr(client, "Kalends", connect)
        return server

    return prepare


STATUS = {"version": "1", "mode": "up", "state": "up", "dependencies": [], "lag": {}}


def test_without_a_terminal_it_is_json(served, capsys):
    """Programs read pipes; nobody has to remember a flag."""
    served(httpx.Response(200, json=STATUS))

    assert cli.run(["status"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1"


def told_on_a_terminal(served, capsys, monkeypatch, **status) -> str:
    """What a person reads of *status*."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    served(httpx.Response(200, json=STATUS | status))
    assert cli.run(["status"]) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def test_the_status_says_in_its_first_line_that_all_is_well(served, capsys, monkeypatch):
    """Nobody reads tables to learn that."""
    told = told_on_a_terminal(served, capsys, monkeypatch, last_backup=None)

    assert told.splitlines()[0] == "Kalends 1, up: up, all is well"
    assert "last backup: none, dead letters: 0" in told


def test_the_status_says_first_what_is_wrong_and_what_to_do(served, capsys, monkeypatch):
    """The worst first; then dead letters, and who is far behind."""
    disk = {"name": "disk", "state": "degraded", "since": "", "detail": "full: 3 MiB free", "next_step": "make room"}
    vector = {"name": "vector", "state": "down", "since": "", "detail": "gone", "next_step": ""}
    lag = {"lexical": {"events": 0, "seconds": 0.0}, "vector": {"events": 7, "seconds": 90.0}}

    told = told_on_a_terminal(served, capsys, monkeypatch, state="degraded", dependencies=[disk, vector], dead_letters=2, lag=lag)

    assert [line.strip() for line in told.splitlines()[:5]] == [
        "Kalends 1, up: degraded",
        "vector is down: gone",
        "disk is degraded: full: 3 MiB free; next step: make room",
        "2 dead letters: what could not be indexed; `kalends dead-letters list` says why",
        "vector is 90 s behind the log (7 events)",
    ]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(400, "malformed"), 1),
        (problem(422, "invalid"), 1),
        (problem(404, "not_found"), 3),
        (problem(410, "gone"), 3),
        (problem(401, "unauthenticated"), 4),
        (problem(403, "forbidden"), 4),
        (problem(503, "unavailable"), 5),
        (problem(429, "throttled"), 5),
        (problem(504, "deadline_exceeded"), 5),
        (httpx.ConnectError("refused"), 5),
        (problem(500, "internal"), 1),
    ],
)
def test_the_exit_code_says_what_kind_of_failure_it_was(served, answer, code, capsys):
    """Scripts decide by it; the words are on standard error."""
    served(answer)

    assert cli.run(["status"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kalends: ")


def test_with_json_errors_are_json_too(served, capsys):
    """Whoever asked for JSON parses both streams."""
    served(problem(404, "not_found", detail="no memory 'x'"))

    assert cli.run(["--json", "status"]) == 3
    assert json.loads(capsys.readouterr().err)["code"] == "not_found"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["search"],
        ["search", "x", "--mode", "telepathy"],
        ["events", "--from", "yesterday"],
        ["--memory", "No Such Name", "sessions"],
        ["ingest", "nowhere.jsonl"],
        ["token", "create", "--for", "a", "--all-memories"],
        ["add", "x", "--meta", "novalue"],
    ],
)
def test_a_slip_of_the_fingers_is_a_usage_error(arguments, served):
    """Nothing was sent."""
    server = served(httpx.Response(200, json=STATUS))

    assert cli.run(arguments) == 2
    assert server.requests == []


@pytest.mark.parametrize(
    "arguments", [["--memory", "m1", "sessions"], ["sessions", "--memory", "m1"], ["--memory", "m2", "sessions", "--memory", "m1"]]
)
def test_common_options_may_stand_before_or_after_the_command(arguments, served):
    """The last one wins."""
    server = served(httpx.Response(200, json={"items": [], "next_cursor": None}))

    assert cli.run(arguments) == 0
    assert server.requests[0].url.path == "/v1/memories/m1/sessions"


def test_the_environment_names_the_memory(served, monkeypatch):
    """For a shell that works on one memory all day."""
    monkeypatch.setenv("KALENDS_MEMORY", "mine")
    server = served(httpx.Response(200, json={"items": [], "next_cursor": None}))

    cli.run(["sessions"])

    assert server.requests[0].url.path == "/v1/memories/mine/sessions"


def test_adding_to_a_memory_that_does_not_exist_makes_it(served, capsys):
    """A first-time user need not know of memories; the retry has the same id."""
    missing, made = problem(404, "not_found"), httpx.Response(200, json={"name": "default"})
    server = served(missing, made, receipt("new", visibility="v"))

    assert cli.run(["add", "remember this", "--meta", "k=v", "--at", "2026-09-14"]) == 0
    assert [request.method for request in server.requests] == ["POST", "PUT", "POST"]
    (event,) = server.bodies()[2]["events"]
    assert (event["text"], event["kind"], event["metadata"]) == ("remember this", "note", {"k": "v"})
    assert json.loads(capsys.readouterr().out)["visibility"] == "v"


def test_a_token_that_may_not_make_the_memory_says_that_there_is_none(served, capsys):
    """The first answer was the true one."""
    served(problem(404, "not_found", detail="no memory 'default'"), problem(403, "forbidden"))

    assert cli.run(["add", "x"]) == 3
    assert "no memory 'default'" in capsys.readouterr().err


def test_bad_lines_are_told_by_number_and_good_ones_are_stored(served, tmp_path, capsys):
    """One typing error in a file of thousands must not cost the others."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"text": "a", "session_id": "s", "kind": "note"}\nnot json\n\n{"text": "b", "session_id": "s", "kind": "note"}\n')
    server = served(receipt("new", "new"))

    assert cli.run(["ingest", str(file)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["events"] == {"new": 2, "duplicate": 0, "rejected": 1}
    assert report["rejected"][0]["line"] == 2
    assert len(server.bodies()[0]["events"]) == 2


def test_documents_of_a_folder_are_named_by_their_path(served, tmp_path, capsys):
    """So that the same folder again changes nothing; hidden files are nobody's documents."""
    (tmp_path / "notes" / "sub").mkdir(parents=True)
    (tmp_path / "notes" / "sub" / "a.md").write_text("# Title\n\ntext")
    (tmp_path / "notes" / ".hidden.md").write_text("no")
    server = served(httpx.Response(200, json={"document_id": "sub/a.md", "status": "new"}))

    assert cli.run(["ingest", str(tmp_path / "notes")]) == 0
    assert [(body["document_id"], body["title"]) for body in server.bodies()] == [("sub/a.md", "Title")]
    assert json.loads(capsys.readouterr().out)["documents"]["new"] == 1


def test_a_token_is_written_to_a_file_for_its_owner_only(served, tmp_path, capsys):
    """Its secret is then nowhere else."""
    body = {"id": "t1", "token": "kal_secret", "memories": ["default"], "rights": ["append", "search"], "label": ""}
    server = served(httpx.Response(201, json=body))
    out = tmp_path / "agent.token"

    assert cli.run(["token", "create", "--out", str(out)]) == 0
    assert out.read_text() == "kal_secret\n"
    assert out.stat().st_mode & 0o777 == 0o600
    assert "kal_secret" not in capsys.readouterr().out
    assert server.bodies()[0]["memories"] == ["default"]


def test_a_token_is_never_written_over_another_file(served, tmp_path):
    """And none is made, because its secret would be lost."""
    server = served(httpx.Response(201, json={}))
    (tmp_path / "mine").write_text("precious")

    assert cli.run(["token", "create", "--out", str(tmp_path / "mine")]) == 1
    assert (tmp_path / "mine").read_text() == "precious"
    assert server.requests == []


def test_a_failed_creation_leaves_no_empty_token_file(served, tmp_path):
    """An empty file would be taken for a token."""
    served(problem(403, "forbidden"))

    assert cli.run(["token", "create", "--out", str(tmp_path / "new")]) == 4
    assert not (tmp_path / "new").exists()


def test_waiting_for_a_rebuild_fails_if_the_rebuild_fails(served):
    """Scripts go on only after a success."""
    ended = {"operation_id": "o1", "kind": "reindex", "state": "failed", "error": "disk full"}
    served(httpx.Response(202, json={"operation_id": "o1"}), httpx.Response(200, json=ended))

    assert cli.run(["admin", "reindex", "--wait"]) == 1


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ({"state": "succeeded", "result": "vector: 1.5 MB freed"}, 0, "1.5 MB freed"),
        ({"state": "failed", "error": "disk full"}, 1, "disk full"),
    ],
)
def test_a_compaction_that_was_waited_for_says_what_came_of_it(served, capsys, end, code, said):
    """Scripts go on only after a success."""
    ended = {"operation_id": "o1", "kind": "compaction", **end}
    served(httpx.Response(202, json={"operation_id": "o1"}), httpx.Response(200, json=ended))

    assert cli.run(["admin", "compact", "--wait"]) == code
    assert said in capsys.readouterr().out


def test_every_command_of_the_contract_exists_and_explains_itself():
    """Each place in the table leads to a command with a help text."""
    context = click.Context(cli.cli, obj=Invocation())

    commands = {name: cli.cli.get_command(context, name) for name in cli.PLACES}

    assert [name for name, command in commands.items() if command is None or not command.get_short_help_str()] == []


def test_starting_up_imports_nothing_heavy():
    """``kalends --help`` must feel instant."""
    heavy = {"httpx", "rich", "litestar", "numpy", "nats", "uvicorn", "tantivy", "onnxruntime"}
    code = f"import sys, kalends.app.cli; print(sorted({heavy!r} & set(sys.modules)))"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True)

    assert shown.stdout.strip() == "[]"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """``kalends --help | head -1`` closes the pipe early."""
    command = f"{sys.executable} -m kalends.app.cli --help | head -1; echo ${{PIPESTATUS[0]}}"

    shown = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=60, text=True, cwd=tmp_path)

    assert shown.stdout.splitlines()[-1] == "0"
    assert shown.stderr == ""
