"""What users and neighbours may rely on is listed, sorted and explained."""

import ast
import inspect
import sys
from pathlib import Path

from kalends.domain import errors
from tests.architecture import sources

ABOVE_DOMAIN = {"kalends.domain", "kalends.kit"}


def test_every_package_that_gives_names_lists_them_sorted():
    """``__all__`` is complete, and sorted as ruff sorts it: constants, classes, then the rest."""
    wrong = {}
    for path in sources.modules(sources.KALENDS):
        if path.name == "__init__.py" and (given := _given(path)):
            listed = _listed(path)
            if listed != sorted(given, key=_rank):
                wrong[sources.place(path)] = {"listed": listed, "given": sorted(given, key=_rank)}

    assert wrong == {}


def test_every_error_is_a_documented_sentence():
    """An error's docstring says what happened, and the drawing in the module shows where it stands."""
    undocumented = [
        error.__name__
        for error in _tree(errors.KalendsError)
        if not (error.__doc__ or "").splitlines()[0].endswith(".") or error.__name__ not in (errors.__doc__ or "")
    ]

    assert undocumented == []


def test_every_error_has_a_code_of_its_own():
    """Callers decide by the code, so two errors never share one."""
    codes = [error.code for error in _tree(errors.KalendsError)]

    assert sorted(codes) == sorted(set(codes))


def test_errors_are_declared_in_one_place():
    """``domain.errors`` has the tree; ``kit`` lies below it and the SDK extends it, so each of them has a few of its own."""
    elsewhere = [
        f"{sources.place(path, node.lineno)}: {node.name}"
        for package in ("adapters", "app", "domain", "edge", "index", "ingest", "ports", "search", "settings", "wire")
        for path in sources.modules(sources.KALENDS / package)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and _is_error(node)
        if path != sources.KALENDS / "domain" / "errors.py"
    ]

    assert elsewhere == []


def test_the_domain_needs_the_standard_library_only():
    """The list of vendors in the import contracts can be outgrown; this rule cannot."""
    foreign = []
    for path in sources.modules(sources.KALENDS / "domain"):
        for name, line in _imported(path):
            inside = name in ABOVE_DOMAIN or name.startswith(tuple(f"{package}." for package in ABOVE_DOMAIN))
            if not inside and name.partition(".")[0] not in sys.stdlib_module_names:
                foreign.append(f"{sources.place(path, line)} imports {name}")

    assert foreign == []


def test_every_adapter_package_maps_its_vendors_errors_in_a_tested_table():
    """A vendor's exception that no table maps would reach callers by its foreign name; the adapter's own test enumerates them."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sources.modules(sources.TESTS) if path.name.startswith("test_"))
    untested = []
    for package in sorted(path.parent for path in sources.modules(sources.KALENDS / "adapters") if path.name == "__init__.py"):
        if package == sources.KALENDS / "adapters":
            continue
        tables = {name for path in sources.modules(package) for name in _assigned(path) if name.endswith("ERRORS")}
        if not any(name in tests and f"kalends.adapters.{package.name}" in tests for name in tables):
            untested.append(f"{sources.place(package)}: tables {sorted(tables)}")

    assert untested == []


def _given(path: Path) -> list[str]:
    found = []
    for node in sources.tree(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kalends"):
            found += [alias.asname or alias.name for alias in node.names]
    return [name for name in found if not name.startswith("_")]


def _listed(path: Path) -> list[str]:
    for node in sources.tree(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _rank(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _tree(error: type[errors.KalendsError]) -> list[type[errors.KalendsError]]:
    below = [found for child in error.__subclasses__() for found in _tree(child)]
    return [found for found in [error, *below] if inspect.getmodule(found) is errors]


def _is_error(node: ast.ClassDef) -> bool:
    known = {error.__name__ for error in _tree(errors.KalendsError)}
    return any(ast.unparse(base).rpartition(".")[2] in {*known, "Exception", "RuntimeError", "ValueError"} for base in node.bases)


def _imported(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(sources.tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.module or "", node.lineno))
    return found


def _assigned(path: Path) -> list[str]:
    found = []
    for node in sources.tree(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found
