"""The model's runtime tells nobody anything."""

import ast
import os
import subprocess
import sys

import pytest
from tests.architecture import sources

from kalends.adapters.embedded import runtime


def test_telemetry_is_forbidden_before_the_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment said; a child that builds the graph is told the same."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    runtime.silence()

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    script = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'), flush=True)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from kalends.adapters.embedded import runtime\n"
        "runtime.load_quantization()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert done.stdout.splitlines() == ["1"]


def test_nobody_else_loads_the_library() -> None:
    """One import of it elsewhere, and it would have been loaded before it was told."""
    loading = [
        sources.place(path, node.lineno)
        for path in sources.modules(sources.KALENDS)
        if path.name != "runtime.py"
        for node in ast.walk(sources.tree(path))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "onnxruntime" in ast.unparse(node)
    ]

    assert loading == []
