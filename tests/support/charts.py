"""The chart as tests see it: linted, rendered, and its pods, without any cluster.

Belongs here: running helm on the chart of this repository and reading what it prints. Does not belong here: what must hold. A newcomer
would get wrong: without a cluster ``lookup`` finds nothing, so a render without existing Secrets makes other random ones each time.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "kalends"
VALUES = ROOT / "tests" / "charts" / "values"
SETS = sorted(path.stem for path in VALUES.glob("*.yaml"))
HELM = Path(sys.executable).parent / "helm"
CAPABILITIES = ("monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule", "keda.sh/v1alpha1")
_HELM_S = 120.0

Object = dict[str, Any]


class Refused(Exception):
    """What helm said instead of rendering."""


def helm(*arguments: str) -> str:
    """What helm prints.

    Raises:
        Refused: it failed; its standard error.
    """
    done = subprocess.run([str(HELM), *arguments], check=False, capture_output=True, text=True, timeout=_HELM_S)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def made_secrets() -> dict[str, Object]:
    """The Secrets that the script of ``k8s`` prints, by name; other random values each time."""
    command = [str(ROOT / "k8s" / "make-secrets"), "kalends"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_HELM_S)
    return {one["metadata"]["name"]: one for one in yaml.safe_load_all(done.stdout) if one}


def lint(name: str) -> str:
    """What ``helm lint --strict`` says of the chart with a set of values."""
    return helm("lint", "--strict", str(CHART), "--values", str(VALUES / f"{name}.yaml"))


def text(name: str, *, sets: Mapping[str, str] | None = None, capabilities: Sequence[str] = CAPABILITIES) -> str:
    """The manifests of a set of values, as helm prints them; *sets* are further values, as JSON."""
    return _text(name, tuple((sets or {}).items()), tuple(capabilities))


@cache
def _text(name: str, sets: tuple[tuple[str, str], ...], capabilities: tuple[str, ...]) -> str:
    given = [argument for key, value in sets for argument in ("--set-json", f"{key}={value}")]
    known = [f"--api-versions={one}" for one in capabilities]
    where = ["--namespace", "memory-system", "--kube-version", "1.33.0"]
    return helm("template", "kalends", str(CHART), "--values", str(VALUES / f"{name}.yaml"), *where, *known, *given)


def objects(name: str, *, sets: Mapping[str, str] | None = None, capabilities: Sequence[str] = CAPABILITIES) -> list[Object]:
    """The objects of a set of values, to be looked at and not changed; the CRDs are not among them."""
    return _objects(text(name, sets=sets, capabilities=capabilities))


@cache
def _objects(manifests: str) -> list[Object]:
    return [one for one in yaml.load_all(manifests, Loader=yaml.CSafeLoader) if one]


def pods(found: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod's spec, by kind and name of what makes it."""
    for one in found:
        where = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield where, one["spec"]
        elif one["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            yield where, one["spec"]["template"]["spec"]


def containers(pod: Object) -> list[Object]:
    """All containers of a pod's spec, those that start it included."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def named(found: Sequence[Object], kind: str, name: str) -> Object:
    """One object."""
    return next(one for one in found if one["kind"] == kind and one["metadata"]["name"] == name)


def golden(name: str) -> str:
    """What a set of values rendered when it was last looked at; written anew where the environment says so."""
    path = ROOT / "tests" / "charts" / "golden" / f"{name}.yaml"
    if os.environ.get("KALENDS_TEST_GOLDEN") == "write":
        path.write_text(text(name), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def notes(name: str, folder: Path) -> str:
    """What helm says after an install with a set of values; only a cluster makes it say so, hence a copy of the chart in *folder*."""
    chart = folder / "kalends"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates" / "notes.yaml").write_text('notes: |\n  {{- tpl (.Files.Get "notes.txt") . | nindent 2 }}\n', encoding="utf-8")
    only = ["--show-only", "templates/notes.yaml", "--namespace", "memory-system"]
    return str(yaml.safe_load(helm("template", "kalends", str(chart), "--values", str(VALUES / f"{name}.yaml"), *only))["notes"])


def metrics_of(query: str) -> set[str]:
    """The metrics of ours that a query names."""
    return set(re.findall(r"\bkalends_[a-z_]+", query))
