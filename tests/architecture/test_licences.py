"""What is shipped has licences that somebody has looked at; see ``.ci/licences.py``."""

import json
import runpy

import pytest

from tests.architecture import sources

SCRIPT = runpy.run_path(str(sources.ROOT / ".ci" / "licences.py"))


def component(name="a-package", **said):
    """A component of a CycloneDX file."""
    return {"name": name, "version": "1", "licenses": [said] if said else []}


@pytest.mark.parametrize("said", ["MIT", "Apache-2.0 OR BSD-3-Clause", "(MIT AND Apache-2.0)", "License :: OSI Approved :: BSD License"])
def test_a_licence_that_is_known_passes(said):
    """Whole, or in each of its parts."""
    page, refused = SCRIPT["table"]({"components": [component(expression=said)]})

    assert refused == []
    assert "| a-package | 1 |" in page


@pytest.mark.parametrize(
    "said", [{}, {"expression": "GPL-3.0-only"}, {"expression": "MIT AND GPL-3.0-only"}, {"license": {"name": "Proprietary"}}]
)
def test_a_licence_that_nobody_has_looked_at_is_refused(said):
    """Also one that is only a part, and a package that says nothing."""
    _, refused = SCRIPT["table"]({"components": [component(**said)]})

    assert len(refused) == 1


def test_the_exit_status_tells_a_refusal(tmp_path):
    """So that the build stops; the table is written nevertheless."""
    (tmp_path / "in.json").write_text(json.dumps({"components": [component()]}), encoding="utf-8")

    assert SCRIPT["main"](tmp_path / "in.json", tmp_path / "out.md") == 1
    assert "a-package" in (tmp_path / "out.md").read_text(encoding="utf-8")
