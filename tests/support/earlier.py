"""An earlier version of Kalends, run by this interpreter from its own sources.

Belongs here: which version that is, getting its sources out of the history, and what a process must be told to run them. Does not belong
here: what must hold between two versions (``tests/cluster/test_upgrade``). A newcomer would get wrong: it runs with the packages that are
installed now, so its locks must be those of today; and its tests are not run, only its services.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIRED = "KALENDS_TEST_UPGRADE"
"""Set to 1 by `make test-upgrade`: without history these tests then fail; otherwise they are skipped, which is said."""
FROM = "KALENDS_TEST_UPGRADE_FROM"
"""The revision to begin with, if it is not to be the newest release."""
BEFORE_RELEASES = "e1e22cf2e8fe2710e84c90ac62bb69915e020c03"
"""What stands for the version before while there is no release."""
_LOCKS = ("requirements/dev.txt", "requirements/model.txt")
_TAKEN = ("services", *_LOCKS)
_GIT_S = 60.0


class Unobtainable(Exception):
    """The earlier version cannot be had or run here; the words say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of Kalends: what it is called, and where its packages are."""

    name: str
    services: Path

    @property
    def settings(self) -> dict[str, str]:
        """The variables with which a process runs it."""
        return {"PYTHONPATH": str(self.services)}


OURS = Version(name="the working tree", services=ROOT / "services")


def obtained(folder: Path) -> Version:
    """The version before this one, its sources in *folder*; skips, or fails with what is missing, where it cannot be had."""
    try:
        return extracted(revision(os.environ.get(FROM, "")), folder)
    except Unobtainable as error:
        if os.environ.get(REQUIRED) == "1":
            raise AssertionError(str(error)) from error
        pytest.skip(str(error))


def revision(wanted: str) -> str:
    """The commit of *wanted*; if that is empty, of the newest release that is not this very commit, or what stands for it.

    Raises:
        Unobtainable: there is no git, no history, or no such commit in it.
    """
    here = _git("rev-parse", "HEAD").decode().strip()
    if wanted:
        return _commit(wanted)
    releases = _git("tag", "--list", "v*", "--sort=-version:refname").decode().split()
    return next((found for release in releases if (found := _commit(release)) != here), None) or _commit(BEFORE_RELEASES)


def extracted(commit: str, folder: Path) -> Version:
    """The version *commit*, its sources in *folder*.

    Raises:
        Unobtainable: its locks are not those of today, or this interpreter does not run it.
    """
    with tempfile.TemporaryFile() as packed:
        packed.write(_git("archive", "--format=tar", commit, "--", *_TAKEN))
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")
    different = [lock for lock in _LOCKS if (folder / lock).read_bytes() != (ROOT / lock).read_bytes()]
    if different:
        raise Unobtainable(f"{commit} has other dependencies ({', '.join(different)}), so what is installed here does not run it")
    version = Version(name=commit, services=folder / "services")
    _see_that_it_runs(version)
    return version


def _see_that_it_runs(version: Version) -> None:
    """An import hook of an installed package could come before what PYTHONPATH says, and two versions would be one."""
    command = [sys.executable, "-c", "import kalends.app.cli; print(kalends.__file__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **version.settings}, timeout=_GIT_S)
    found = done.stdout.strip()
    if not found.startswith(f"{version.services}{os.sep}"):
        raise Unobtainable(f"{version.name} is not what runs, but {found or done.stderr.strip()[-500:]}")


def _commit(name: str) -> str:
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", what=name).decode().strip()


def outside() -> dict[str, str]:
    """Our environment without what tells git of another history, as whoever runs tests from a hook of git has it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _git(*arguments: str, what: str = "") -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False, timeout=_GIT_S, env=outside())
    except FileNotFoundError as error:
        raise Unobtainable("there is no git, so the version before cannot be had") from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip() or "no such commit"
        raise Unobtainable(f"the history does not have {what or 'what is needed'} ({words}); fetch all of it: git fetch --unshallow --tags")
    return done.stdout
