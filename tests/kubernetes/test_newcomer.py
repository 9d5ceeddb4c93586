"""The newcomer's page, command by command, as it stands.

Belongs here: running what the page says. Does not belong here: what each command is good for (the suites of chart and operator). A newcomer
would get wrong: the API server, helm and kubectl are real, and no program runs in the simulated pods; so the operator, Kalends and the
example's agent run beside them as processes, with the rights, the Secret and the file that the cluster has for them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.support import charts
from tests.support.instance import Instance
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import Operated

pytestmark = [*MARKS]

PAGE = ROOT / "docs" / "kubernetes.md"
SPACES = ("kalends", "agents")
LIMIT_S = 600.0


def commands() -> list[str]:
    """What the page has people type, in order."""
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]


def told() -> list[str]:
    """What the page says that the agent prints; ``…`` stands for anything."""
    (block,) = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [re.escape(line).replace("…", ".+") for line in block.splitlines()]


@pytest.fixture
def spaces(cluster: ControlPlane) -> Iterator[None]:
    """The page's namespaces are not there before, and are told to go afterwards with what its release leaves."""
    for name in SPACES:
        cluster.api.clear_away(name)
    yield
    for name in SPACES:
        if cluster.api.exists("Namespace", name):
            cluster.api.delete("Namespace", name)


def run(cluster: ControlPlane, command: str) -> str:
    """What a command prints, typed in the root of the repository."""
    environment = cluster.environment()
    environment["PATH"] = f"{charts.HELM.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, check=False, capture_output=True, text=True, timeout=LIMIT_S, env=environment
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def agent(secret: dict[str, str], folder: Path) -> str:
    """What the example's program prints with the Secret mounted at *folder*."""
    folder.mkdir()
    for key, value in secret.items():
        (folder / key).write_text(value, encoding="utf-8")
    program = ROOT / "examples" / "agent-pod" / "agent.py"
    done = subprocess.run(
        [sys.executable, str(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "AGENT_SECRET": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ten_commands_lead_from_nothing_to_an_agent_that_remembers(
    cluster: ControlPlane, kalends: Instance, spaces: None, tmp_path: Path
) -> None:
    """Each succeeds, what stands in for the pods does what they would, the agent says what the page says, and its namespace can go."""
    typed, printed = commands(), ""
    assert len(typed) == 10
    operated: Operated | None = None
    try:
        for command in typed:
            printed = run(cluster, command)
            if command == "kubectl create namespace agents":
                operated = Operated(cluster, kalends, "agents", tmp_path, home="kalends").start()
        assert operated is not None
        assert "ferry" in printed
        secret = operated.secret("ferry-kalends")
        assert secret is not None
        said = agent(secret, tmp_path / "secret").splitlines()
        assert [bool(re.fullmatch(pattern, line)) for pattern, line in zip(told(), said, strict=True)] == [True, True], said
        cluster.api.clear_away("agents")
    finally:
        if operated is not None:
            operated.__exit__()
        run(cluster, "helm uninstall kalends --namespace kalends --ignore-not-found --wait --timeout 2m")


def test_what_the_page_names_is_there() -> None:
    """Its links, and the reasons and keys that it explains."""
    text = PAGE.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((\.\./[^)#]+|[a-z]+\.md)\)", text):
        assert (PAGE.parent / link).exists(), link
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "operator").rglob("*.py"))
    for word in (*re.findall(r"reason `(\w+)`", text), *re.findall(r"or `(\w+Taken)`", text)):
        assert f'"{word}"' in sources, word
