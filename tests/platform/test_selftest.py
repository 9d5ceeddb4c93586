"""``kalends selftest`` against a real instance."""

import json
import subprocess
import sys

import pytest
from tests.support.instance import clean_environment, wait_until

from kalends.app import trying
from kalends.client import Kalends
from kalends.client.results import SearchAnswer


@pytest.fixture
def connect(instance):
    """A client with a token, or with the admin's."""
    return lambda token: Kalends(instance.url, token=token or instance.token)


def test_a_healthy_instance_passes_and_nothing_is_left(instance, connect):
    """The steps of the chart's test pod, as it runs them; no memory and no token stays."""
    command = [
        sys.executable,
        "-m",
        "kalends.app.cli",
        "selftest",
        "--url",
        instance.url,
        "--token-file",
        str(instance.token_file),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=clean_environment())

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["good"]
    assert len(json.loads(done.stdout)["steps"]) == 4
    with connect(None) as admin:
        assert [one for one in admin.tokens() if one.label == "kalends selftest"] == []
        assert wait_until(lambda: not [one for one in admin.memories() if one.name.startswith("selftest-")], seconds=30)


def test_an_instance_that_finds_nothing_fails(connect, monkeypatch):
    """The first step that does not hold is told, and no other is tried."""
    search = trying._ids
    monkeypatch.setattr(trying, "_ids", lambda *given, **options: search(*given, **options) and set())

    assert [step.good for step in trying.steps(connect)] == [True, False]


def test_an_instance_that_answers_strangers_fails(connect, monkeypatch):
    """A stranger that gets an answer, even an empty one, has learnt that the memory exists."""
    known = trying._known

    def open_to_all(ask):
        try:
            return known(ask)
        except trying.NotFound:
            return SearchAnswer(hits=[])

    monkeypatch.setattr(trying, "_known", open_to_all)

    assert [step.good for step in trying.steps(connect)] == [True, True, False]
