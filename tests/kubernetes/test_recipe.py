"""The control plane is built once by whoever comes first, and who cannot build is told why. None of this needs the control plane itself."""

import re
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT
from tests.support.kubernetes import lock, recipe

FAKE_GO = """\
#!/bin/sh
echo "$$" >> "$BUILDS"
while [ "$1" != "-o" ]; do shift; done
printf '#!/bin/sh\\necho "$0" "$@"\\n' > "$2"
chmod +x "$2"
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """An environment with an empty cache, and a Go that builds a script and notes that it did."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(FAKE_GO, encoding="utf-8")
    (tools / "go").chmod(0o755)
    environment = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{tools}:/usr/bin:/bin",
        "BUILDS": str(tmp_path / "builds"),
        "PYTHONPATH": "services:operator",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def build():
    """The verb, as people and CI run it, begun."""
    command = [sys.executable, "-m", "tests.support.kubernetes", "build"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_that_need_it_one_builds(outside):
    """The other waits for it, and both find the same programs."""
    both = [build(), build()]
    told = [process.communicate(timeout=120)[0].splitlines()[0] for process in both]

    assert told[0] == told[1]
    assert len((outside / "builds").read_text(encoding="utf-8").splitlines()) == 1
    assert {path.name for path in recipe.Path(told[0]).iterdir()} == set(recipe.PARTS)


def test_what_an_interrupted_build_left_is_not_used(outside):
    """Only a build that came to its end counts."""
    (found, _) = build().communicate(timeout=120)
    folder = recipe.Path(found.splitlines()[0]).parent
    (folder / "ready").unlink()
    (folder / "control-plane").write_text("half of it", encoding="utf-8")

    build().communicate(timeout=120)

    assert (folder / "control-plane").read_text(encoding="utf-8").startswith("#!/bin/sh")


def test_without_go_it_says_so(outside, monkeypatch):
    """With its name and the version that is needed, on one line, and status 1."""
    monkeypatch.setenv("PATH", str(outside / "nothing"))
    process = build()
    _, words = process.communicate(timeout=120)

    assert (process.returncode, words) == (1, "go is missing; the control plane of the tests is built with it (Go 1.24 or newer)\n")


def test_a_build_that_fails_says_what_go_said(outside):
    """And leaves nothing that a later one would take for whole."""
    (outside / "tools" / "go").write_text("#!/bin/sh\necho no such package >&2\nexit 3\n", encoding="utf-8")
    process = build()
    _, words = process.communicate(timeout=120)

    assert (process.returncode, words) == (1, "go build ended with 3: no such package\n\n")


def test_versions_are_pinned_and_those_of_the_lock():
    """A file that was resolved for other versions would be another control plane than the pages say."""
    module = (lock.PROGRAM / "go.mod").read_text(encoding="utf-8")

    assert f"k8s.io/kubernetes {lock.KUBERNETES}\n" in module
    assert f"sigs.k8s.io/kwok {lock.KWOK}\n" in module
    staged = set(re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (v0\.\S+)$", module, re.MULTILINE))
    assert staged == {lock.KUBERNETES.replace("v1.", "v0.", 1)}
