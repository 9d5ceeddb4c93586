"""Rules for the tests themselves."""

import ast
from pathlib import Path

from tests.architecture import sources

SENTENCE_WORDS = 4
SKIPS = ("pytest.skip", "pytest.mark.skip")
CONDITIONAL_SKIPS = ("pytest.mark.skipif", "pytest.mark.xfail")


def test_no_test_sleeps():
    """A test waits for a condition with a deadline. Pollers live in tests/support; load makers pause by a rate that has a name."""
    sleeping = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.TESTS)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep" and _pauses(node, path)
    ]

    assert sleeping == []


def test_every_test_states_a_behaviour():
    """By its docstring, or by a name that is a sentence."""
    mute = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.TESTS)
        if path.name.startswith("test_")
        for node in sources.functions(path)
        if node.name.startswith("test_") and ast.get_docstring(node) is None and len(node.name.split("_")) <= SENTENCE_WORDS
    ]

    assert mute == []


def test_no_test_is_skipped_without_a_reason():
    """A skip without words is forgotten."""
    silent = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.TESTS)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {*SKIPS, *CONDITIONAL_SKIPS} and not _explained(node)
    ]

    assert silent == []


def _explained(call: ast.Call) -> bool:
    by_position = ast.unparse(call.func) in SKIPS and bool(call.args)
    return by_position or any(keyword.arg == "reason" for keyword in call.keywords)


def _pauses(call: ast.Call, path: Path) -> bool:
    if path.is_relative_to(sources.TESTS / "support"):
        return False
    length = call.args[0] if call.args else None
    if isinstance(length, ast.Constant):
        return length.value != 0
    return path.name.startswith("test_") or path.name == "conftest.py"
