"""What is installed is what was locked."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.architecture import sources

LOCKS = sorted((sources.ROOT / "requirements").glob("*.txt"))
INSTALLED_EXTRAS = ("embedded", "dev")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def _entries(text: str) -> list[str]:
    """The lock's requirements, each with its hashes on one line."""
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_requirement_is_pinned_and_hashed(lock):
    """Pip refuses a file whose hash is not listed, wherever it came from."""
    loose = [entry[:60] for entry in _entries(lock.read_text(encoding="utf-8")) if not (_PIN.match(entry) and "--hash=sha256:" in entry)]

    assert loose == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_no_lock_holds_an_address(lock):
    """A lock with an address in it works with one mirror only."""
    assert [entry[:60] for entry in _entries(lock.read_text(encoding="utf-8")) if "://" in entry or entry.startswith("-")] == []


def _pins(lock: str) -> dict[str, str]:
    """What a lock pins, by package."""
    entries = _entries((sources.ROOT / "requirements" / lock).read_text(encoding="utf-8"))
    return {found["name"].lower(): found["version"] for entry in entries if (found := _PIN.match(entry))}


def test_what_is_shipped_is_what_is_tested():
    """The lock of what runs is a part of the one that tests run with."""
    tested = _pins("dev.txt")

    assert {name: version for name, version in _pins("run.txt").items() if tested.get(name) != version} == {}


def test_the_lock_satisfies_every_declared_dependency():
    """A dependency that was declared but not locked would be missing in a fresh clone."""
    project = tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] + [text for extra in INSTALLED_EXTRAS for text in project["optional-dependencies"][extra]]
    pins = _pins("dev.txt")
    unmet = []
    for requirement in map(Requirement, declared):
        pinned = pins.get(requirement.name.lower().replace("_", "-"))
        if pinned is None or not requirement.specifier.contains(Version(pinned)):
            unmet.append(f"{requirement} is locked to {pinned}")

    assert unmet == []
