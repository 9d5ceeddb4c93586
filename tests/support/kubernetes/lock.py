"""``go.mod`` and ``go.sum`` of the control plane, resolved anew from the three versions below.

Belongs here: the versions, and how a module that uses Kubernetes as a library is made. Does not belong here: building (``recipe``). A
newcomer would get wrong: Kubernetes names its own parts by a version that does not exist and replaces each by a folder of its source tree,
so whoever imports it has to replace each one too; and kwok only compiles with the minor version of Kubernetes that it was made for.
"""

import json
import re
import subprocess
from pathlib import Path

KUBERNETES = "v1.33.13"
KWOK = "v0.7.0"
PROGRAM = Path(__file__).parent / "program"

_STAGED = re.compile(r"^\s*(k8s\.io/[a-z-]+) => \./staging/", re.MULTILINE)
_GO = re.compile(r"^go \S+$", re.MULTILINE)


def write() -> None:
    """Write both files; etcd's and all other versions are the ones that Kubernetes itself asks for.

    Raises:
        subprocess.CalledProcessError: the Go command failed; it said why on standard error.
    """
    (PROGRAM / "go.mod").write_text(_module(_upstream()), encoding="utf-8")
    (PROGRAM / "go.sum").unlink(missing_ok=True)
    _go("mod", "tidy")


def _module(upstream: str) -> str:
    """The text of go.mod, before ``go mod tidy`` adds what is needed indirectly."""
    go = _GO.search(upstream)
    assert go is not None, "Kubernetes' go.mod names no version of Go"
    parts = KUBERNETES.replace("v1.", "v0.", 1)
    replaced = "".join(f"\t{name} => {name} {parts}\n" for name in _STAGED.findall(upstream))
    required = f"\tk8s.io/kubernetes {KUBERNETES}\n\tsigs.k8s.io/kwok {KWOK}\n"
    return f"module kalends.dev/tests/control-plane\n\n{go.group()}\n\nrequire (\n{required})\n\nreplace (\n{replaced})\n"


def _upstream() -> str:
    told = json.loads(_go("mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"))
    return Path(told["GoMod"]).read_text(encoding="utf-8")


def _go(*arguments: str) -> str:
    return subprocess.run(["go", *arguments], cwd=PROGRAM, check=True, stdout=subprocess.PIPE, text=True, timeout=900).stdout
