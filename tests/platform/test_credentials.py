"""Credentials in use: rotation while everybody asks, and an agent's life from the command line.

Belongs here: what an operator does with credentials and what a program notices of it. Does not belong here: what is refused
(``test_attacks``). A newcomer would get wrong: a token is rotated by whoever administers it, and whoever uses it switches at leisure.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.platform.people import Person
from tests.support.instance import Instance, clean_environment, wait_until

from kalends.client import Kalends, Unauthenticated
from kalends.kit import nkeys

MEMORY = "credentials"
ROTATIONS = 5
ASKERS = 3


class Asker:
    """A thread that asks without a pause, with whatever token it was given last; *failures* are the answers that were no success."""

    def __init__(self, instance: Instance, token: str) -> None:
        self.token = token
        self.failures: list[tuple[int, str]] = []
        self.asked = 0
        self._instance = instance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            with Person(self._instance, self.token) as person:
                answer = person.ask("GET", f"/memories/{MEMORY}")
            self.asked += 1
            if not answer.is_success:
                self.failures.append((answer.status_code, answer.text))

    def close(self) -> None:
        """Let it end."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_tokens_are_rotated_under_load_without_a_failed_request(admin: Person) -> None:
    """Each asker switches some time after its token got a successor; nothing is started anew."""
    admin.make_memory(MEMORY)
    made = [admin.good("POST", "/tokens", {"memories": [MEMORY], "role": "reader"}) for _ in range(ASKERS)]
    askers = [Asker(admin.instance, one["token"]) for one in made]
    ids = [one["id"] for one in made]
    try:
        for _ in range(ROTATIONS):
            for number, asker in enumerate(askers):
                successor = admin.good("POST", f"/tokens/{ids[number]}/rotate", {"overlap_s": 60})
                seen = asker.asked
                assert until(lambda asker=asker, seen=seen: asker.asked > seen + 2)  # the old one goes on
                ids[number], asker.token = successor["id"], successor["token"]
                assert until(lambda asker=asker, seen=seen: asker.asked > seen + 5)  # and so does the new one
    finally:
        for asker in askers:
            asker.close()

    assert [asker.failures for asker in askers] == [[]] * ASKERS


def until(condition: Callable[[], bool]) -> bool:
    """Whether *condition* holds within half a minute."""
    return wait_until(condition, seconds=30)


def test_a_token_is_not_rotated_by_whoever_could_not_have_made_it(admin: Person) -> None:
    """Neither for other memories nor beyond the own end."""
    whole = admin.good("POST", "/tokens", {"memories": None, "role": "reader"})
    own = admin.good("POST", "/tokens", {"memories": [MEMORY], "role": "reader"})
    with admin.with_token("admin", memories=[MEMORY]) as limited:
        assert limited.ask("POST", f"/tokens/{whole['id']}/rotate", {}).status_code == 404
        assert limited.ask("POST", f"/tokens/{own['id']}/rotate", {}).status_code == 201
    with admin.with_token("admin", memories=None, expires_at="2999-01-01T00:00:00Z") as ending:
        assert ending.ask("POST", f"/tokens/{whole['id']}/rotate", {}).status_code == 403
    for overlap in (-1, 604_801, 1.5, "60"):
        assert admin.ask("POST", f"/tokens/{whole['id']}/rotate", {"overlap_s": overlap}).status_code == 422


def test_a_public_key_that_is_none_is_refused_with_its_place(admin: Person) -> None:
    """A letter that was mistyped would else register nobody."""
    public = nkeys.new_pair("user").public
    wrong = public[:-1] + ("A" if public[-1] != "A" else "B")
    for key in (wrong, nkeys.new_pair("account").public, "U", public.lower()):
        answer = admin.ask("POST", "/agents", {"public_key": key, "memories": None, "role": "reader"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/public_key"


def told(admin: Person, *arguments: str, **environment: str) -> Any:
    """What the command line prints as JSON."""
    done = ran(admin, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ran(admin: Person, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command line, as the admin unless *environment* says otherwise."""
    known = {"KALENDS_URL": admin.instance.url, "KALENDS_TOKEN_FILE": str(admin.instance.token_file), **environment}
    command = [sys.executable, "-m", "kalends.app.cli", *arguments, "--json"]
    return subprocess.run(command, env={**clean_environment(), **known}, capture_output=True, text=True, timeout=60, check=False)


def test_an_agent_lives_and_ends_from_the_command_line(admin: Person, tmp_path: Path) -> None:
    """It is registered, writes with its key, gets credentials for a foreign broker, and is revoked."""
    admin.make_memory(MEMORY)
    key, creds, account = tmp_path / "agent.seed", tmp_path / "agent.creds", tmp_path / "account.seed"
    account.write_text(nkeys.new_pair("account").seed)
    made = told(admin, "agent", "create", "--key-file", str(key), "--for", MEMORY, "--role", "writer", "--label", "mine")
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0

    assert made["id"] in {one["id"] for one in told(admin, "agent", "list")["items"]}
    with Kalends(admin.instance.url, agent_key_file=key) as kalends:
        memory = kalends.memory(MEMORY)
        receipt = memory.append([{"session_id": "s", "kind": "note", "text": "written with a key"}])
        assert [one.status for one in receipt.results] == ["new"]
        shown = told(admin, "agent", "creds", made["id"], "--account-seed-file", str(account), "--key-file", str(key), "--out", str(creds))
        assert shown["inbox_prefix"] == f"_INBOX_{made['id']}"
        assert "NATS USER JWT" in creds.read_text()
        told(admin, "agent", "revoke", made["id"])
        with pytest.raises(Unauthenticated):
            memory.append([{"session_id": "s", "kind": "note", "text": "too late"}])


def test_a_key_that_cannot_be_registered_leaves_no_file(admin: Person, tmp_path: Path) -> None:
    """Nobody is to keep a secret that opens nothing."""
    key = tmp_path / "agent.seed"
    reader = tmp_path / "reader"
    reader.write_text(admin.good("POST", "/tokens", {"memories": [MEMORY], "role": "reader"})["token"])
    assert ran(admin, "agent", "create", "--key-file", str(key), KALENDS_TOKEN_FILE=str(reader)).returncode == 4
    assert not key.exists()


def test_a_token_is_rotated_from_the_command_line(admin: Person, tmp_path: Path) -> None:
    """Into a new file; both work until the overlap is over."""
    out = tmp_path / "token"
    made = told(admin, "token", "create", "--role", "curator", "--for", MEMORY)
    assert made["rights"] == ["append", "search", "erase"]
    rotated = told(admin, "token", "rotate", made["token_id"], "--out", str(out), "--overlap-s", "60")
    assert (rotated["replaces"], rotated["overlap_s"]) == (made["token_id"], 60)
    for token in (made["token"], out.read_text().strip()):
        with Person(admin.instance, token) as person:
            assert person.ask("GET", "/memories").status_code == 200
    listed = {one["id"]: one for one in told(admin, "token", "list")["items"]}
    assert listed[made["token_id"]]["replaced_by"] == rotated["token_id"]
