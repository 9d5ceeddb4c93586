"""The verbs that run marked tests look where those are: collecting everything costs each worker seconds."""

import re

import pytest

from tests.architecture import sources

SAID_BY = {
    "cluster": r"mark\.cluster\b",
    "kubernetes": r"mark\.kubernetes\b|kubernetes\.marks import",
    "vllm": r"mark\.vllm\b|servers\.MARKS|servers import .*MARKS",
}


@pytest.mark.parametrize("mark", SAID_BY)
def test_a_marked_test_is_where_its_verb_looks(mark):
    """One that stands elsewhere would never run."""
    makefile = (sources.ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(rf'pytest ([\w/ ]+) -m "{mark} and not slow"', makefile)
    tests = sources.ROOT / "tests"
    marked = {
        f"tests/{path.relative_to(tests).parts[0]}"
        for path in tests.rglob("*.py")
        if path.relative_to(tests).parts[0] not in {"support", "architecture"}
        and re.search(SAID_BY[mark], path.read_text(encoding="utf-8"))
    }

    assert marked
    assert marked <= set(command.split())
