"""The repository as these tests read it: its files, its modules and their syntax trees.

Belongs here: finding and parsing. Does not belong here: a rule. A newcomer would get wrong: generated code is left out of ``modules``,
because nobody can shorten it by hand.
"""

import ast
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KALENDS = ROOT / "services" / "kalends"
TESTS = ROOT / "tests"
GENERATED = KALENDS / "wire" / "gen"
SERVICES = ("ingest", "index", "search")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, under version control; without git, every file outside of hidden folders."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listing = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, check=True, capture_output=True, timeout=60).stdout.decode().split("\0")
        return tuple(sorted(ROOT / name for name in set(names) if name and (ROOT / name).is_file()))
    skipped = {".git", ".venv", "build", "dist", "__pycache__"}
    return tuple(sorted(path for path in ROOT.rglob("*") if path.is_file() and not skipped.intersection(path.relative_to(ROOT).parts[:-1])))


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that is text, with its text."""
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            yield path, content.decode(errors="replace")


def modules(folder: Path = ROOT) -> Iterator[Path]:
    """Every Python module below *folder* that people write."""
    for path in files():
        if path.suffix == ".py" and path.is_relative_to(folder) and not path.is_relative_to(GENERATED):
            yield path


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[FunctionNode]:
    """Every function of a module, the nested and the methods included."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, FunctionNode))


def lines(node: FunctionNode) -> int:
    """Lines of a function, from its first decorator to its last statement."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or node.lineno) - first + 1


def place(path: Path, line: int | None = None) -> str:
    """Where something is, as people click on it."""
    name = path.relative_to(ROOT).as_posix()
    return name if line is None else f"{name}:{line}"


def names(folder: Path) -> set[str]:
    """The modules directly in *folder*, by name, without the package's own."""
    return {path.stem for path in modules(folder) if path.parent == folder and path.stem != "__init__"}
