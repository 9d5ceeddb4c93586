"""Which version is "the version before", and what is said where it cannot be had.

Belongs here: histories of a test's own. Does not belong here: running that version (``test_upgrade``). A newcomer would get wrong: the
release that is checked out is not the version before itself.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import earlier

Commit = Callable[[str], str]
_WHO = {name: "somebody" for kind in ("AUTHOR", "COMMITTER") for name in (f"GIT_{kind}_NAME", f"GIT_{kind}_EMAIL")}


def git(*arguments: str) -> str:
    """What git says of the history at ``earlier.ROOT``."""
    env = {**earlier.outside(), **_WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=earlier.ROOT, check=True, capture_output=True, text=True, env=env)
    return done.stdout.strip()


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Adds a version, whose locks hold the words that are given, to a new history, and tells its commit."""
    root = tmp_path / "history"
    (root / "requirements").mkdir(parents=True)
    (root / "services" / "kalends" / "app").mkdir(parents=True)
    for package in ("kalends", "kalends/app"):
        (root / "services" / package / "__init__.py").touch()
    (root / "services" / "kalends" / "app" / "cli.py").touch()
    monkeypatch.setattr(earlier, "ROOT", root)
    git("init", "--quiet")

    def add(locks: str) -> str:
        for lock in ("dev.txt", "model.txt"):
            (root / "requirements" / lock).write_text(locks, encoding="utf-8")
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "a version")
        return git("rev-parse", "HEAD")

    return add


def test_the_version_before_is_the_newest_release_that_is_not_this_one(commit: Commit) -> None:
    """By its number, not by its letters; and one that is asked for comes first."""
    first = commit("same")
    git("tag", "v0.9.0")
    second = commit("same")
    git("tag", "v0.10.0")
    commit("same")
    assert earlier.revision("") == second
    assert earlier.revision("v0.9.0") == first

    git("tag", "v0.11.0")
    assert earlier.revision("") == second


def test_an_earlier_version_runs_from_its_own_sources(commit: Commit, tmp_path: Path) -> None:
    """Also where a package of that name is installed."""
    found = earlier.extracted(commit("same"), tmp_path / "before")

    assert found.settings == {"PYTHONPATH": str(tmp_path / "before" / "services")}


def test_a_version_with_other_dependencies_is_refused_with_words(commit: Commit, tmp_path: Path) -> None:
    """What is installed here is not what it was made for."""
    before = commit("of then")
    commit("of now")

    with pytest.raises(earlier.Unobtainable, match="has other dependencies"):
        earlier.extracted(before, tmp_path / "before")


def test_a_revision_that_the_history_does_not_have_is_refused_with_words(commit: Commit) -> None:
    """As in a shallow clone, where the way out is named."""
    commit("same")

    with pytest.raises(earlier.Unobtainable, match=r"does not have v7 .*; fetch all of it"):
        earlier.revision("v7")
    with pytest.raises(earlier.Unobtainable, match=f"does not have {earlier.BEFORE_RELEASES}"):
        earlier.revision("")


def test_without_history_the_verb_fails_and_other_runs_skip(commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for the upgrade must not take a skip for a success."""
    commit("same")
    monkeypatch.setenv(earlier.FROM, "v7")
    monkeypatch.setenv(earlier.REQUIRED, "1")
    with pytest.raises(AssertionError, match="does not have v7"):
        earlier.obtained(tmp_path)

    monkeypatch.delenv(earlier.REQUIRED)
    with pytest.raises(pytest.skip.Exception, match="does not have v7"):
        earlier.obtained(tmp_path)
