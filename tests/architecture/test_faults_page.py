"""The page of faults names tests that are there."""

import ast
import re

from tests.architecture import sources

PAGE = sources.ROOT / "docs" / "faults.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_the_page_of_faults_names_is_there():
    """A row whose test was renamed or removed promises what nobody tries."""
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    functions = {path: _tests_of(path) for path, _ in named}

    assert len(named) > 20
    assert [(path, name) for path, name in named if name and name not in functions[path]] == []


def _tests_of(path):
    tree = ast.parse((sources.ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
