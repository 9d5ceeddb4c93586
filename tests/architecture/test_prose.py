"""What must not be written anywhere in the repository."""

import ast
import re

from tests.architecture import sources

# the patterns are written so that they do not match themselves
UNFINISHED = re.compile(r"\b(TO+DO|FIX+ME|X{3}|HA[C]KS?)\b")
MACHINE = re.compile(r"(?<![\w.~}$])/(?:work|root|home|Users|tmp)/(?!\$)\w")
REGISTRY = re.compile(
    r"py[p]i[.]org|python[h]osted[.]org|registry[.]np[m]js|static[.]cr[a]tes|proxy[.]g[o]lang|(?<!no-emit)-inde[x]-url|find-link[s][= ]"
)
PROSE = {".md", ".proto", ".py", ".sh", ".toml", ".yaml", ".yml"}
LINK = re.compile(r"\]\(([^)#\s][^)\s]*)\)")
BROAD = {"BaseException", "Exception"}


def test_nothing_is_marked_as_unfinished():
    """What is missing stands in docs/decisions/gaps.md, with its reason."""
    assert _matches(UNFINISHED) == []


def test_no_file_knows_the_machine_it_was_written_on():
    """Absolute paths of one machine are wrong on every other."""
    assert _matches(MACHINE) == []


def test_no_file_names_a_package_registry():
    """Where packages come from is the reader's business, and the locks work with any mirror."""
    assert _matches(REGISTRY) == []


def test_no_code_promises_to_be_written_later():
    """An operation that is not built is refused with an error of ours, or does not exist."""
    found = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.ROOT)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]

    assert found == []


def test_no_exception_is_swallowed():
    """A bare or empty handler turns an outage into an empty memory; a broad one has to raise, to report or to hand on."""
    swallowed = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.ROOT)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.ExceptHandler) and _swallows(node)
    ]

    assert swallowed == []


def test_no_exception_is_suppressed_without_being_named():
    """``suppress`` is for the one error that is expected there."""
    found = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.ROOT)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress"
        if BROAD & {ast.unparse(argument) for argument in node.args}
    ]

    assert found == []


def test_every_link_between_pages_leads_somewhere():
    """A renamed page must not leave readers behind."""
    broken = [
        f"{sources.place(path)}: {target}"
        for path in sources.files()
        if path.suffix == ".md"
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target.partition("#")[0]).exists()
    ]

    assert broken == []


def _matches(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path, text in sources.texts():
        if path.suffix in PROSE or path.name in {"Makefile", ".importlinter", "run"} or path.parent.name == "requirements":
            for number, line in enumerate(text.splitlines(), start=1):
                if pattern.search(line):
                    found.append(f"{sources.place(path, number)}: {line.strip()[:80]}")
    return found


def _swallows(handler: ast.ExceptHandler) -> bool:
    caught = (
        {"BaseException"} if handler.type is None else {ast.unparse(node) for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    )
    if all(isinstance(statement, ast.Pass) or _is_ellipsis(statement) for statement in handler.body):
        return True
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    acts = any(isinstance(node, ast.Raise | ast.Call) or (isinstance(node, ast.Name) and node.id == handler.name) for node in nodes)
    return bool(caught & BROAD) and not acts


def _is_ellipsis(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and statement.value.value is ...
