#!/usr/bin/env python
"""What of the chart and of k8s/ is made from something else; ``make chart`` writes it, and a test holds it to its sources.

Belongs here: values.schema.json (from values.yaml and the settings tree), images.txt, the gateway's routes, the operator's rules, and
k8s/base, which is a render of the chart. Does not belong here: any fact about a value, which stands as a comment above it in values.yaml.
A newcomer would get wrong: marks in these comments (@enum, @pattern, @min, @like, @settings, @object) become the schema.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kalends.app import gateway
from kalends.settings import schema

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "kalends"
HELM = ROOT / ".venv" / "bin" / "helm"
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "seq": "array", "null": "null"}


def values_schema() -> str:
    """The schema of values.yaml."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    described = _described(yaml.compose(text), text.splitlines())
    made = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart of Kalends"}
    return json.dumps({**made, **described, "$defs": schema.definitions()}, indent=1, ensure_ascii=False) + "\n"


def _described(node: yaml.Node, lines: list[str]) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        return {"type": _TYPES[node.tag.rpartition(":")[2]]}
    properties = {key.value: _property(key, value, lines) for key, value in node.value}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(key: yaml.ScalarNode, value: yaml.Node, lines: list[str]) -> dict[str, Any]:
    words, marks = _comment(lines, key.start_mark.line)
    if not words:
        raise SystemExit(f"values.yaml, line {key.start_mark.line + 1}: {key.value} has no comment")
    if "settings" in marks:
        return {"description": words, "$ref": f"#/$defs/{schema.ROOT}"}
    if "like" in marks:
        return {"description": words, "$ref": "#/properties/" + "/properties/".join(marks["like"].split("."))}
    if "object" in marks:
        return {"description": words, "type": "object"}
    if "enum" in marks:
        return {"description": words, "enum": [yaml.safe_load(one) for one in marks["enum"].split()]}
    found = {"description": words, **_described(value, lines)}
    if "pattern" in marks:
        found["pattern"] = marks["pattern"]
    if "min" in marks:
        found["minimum"] = int(marks["min"])
    return found


def _comment(lines: list[str], at: int) -> tuple[str, dict[str, str]]:
    """The words above a line, and the marks among them."""
    block: list[str] = []
    while at > 0 and lines[at - 1].lstrip().startswith("#"):
        at -= 1
        block.insert(0, lines[at].lstrip().removeprefix("#").strip())
    marks = {name: rest for name, _, rest in (line.removeprefix("@").partition(" ") for line in block if line.startswith("@"))}
    return " ".join(line for line in block if not line.startswith("@")), marks


def images() -> str:
    """Every image that the chart may name, one a line."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    return "".join(f"{one}\n" for one in sorted({_name(image, version) for image in _images(values)}))


def _images(values: Any) -> Iterator[dict[str, str]]:
    if isinstance(values, dict):
        if values.keys() >= {"registry", "repository", "tag", "digest"}:
            yield values
        for one in values.values():
            yield from _images(one)


def _name(image: dict[str, str], version: str) -> str:
    name = f"{image['registry']}/{image['repository']}"
    return f"{name}@{image['digest']}" if image["digest"] else f"{name}:{image['tag'] or version}"


def rendered(*values: Path) -> list[dict[str, Any]]:
    """The objects that the chart makes of files of values, without hooks and Helm's own labels; the CRDs are not among them."""
    command = [str(HELM), "template", "kalends", str(CHART), "--namespace", "kalends", "--kube-version", "1.33.0"]
    for path in values:
        command += ["--values", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)  # noqa: S603 - the chart of this repository
    if done.returncode:
        raise SystemExit(done.stderr)
    found = [one for one in yaml.safe_load_all(done.stdout) if one and "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    _without_helm(found)
    return found


def base() -> dict[str, str]:
    """The files of k8s/ that are renders, by their path below it."""
    files: dict[str, list[dict[str, Any]]] = {place: [] for place in ("base/kalends.yaml", *_PLACES.values())}
    values = ROOT / "k8s" / "values.yaml"
    for one in rendered(values):
        files[_PLACES.get(_part(one), "base/kalends.yaml")].append(one)
    files["components/gpu/embedder.yaml"] = [
        one for one in rendered(values, ROOT / "k8s" / "values-gpu.yaml") if _component(one) == "embedder"
    ]
    crds = {f"base/crds/{path.name}": path.read_text(encoding="utf-8") for path in sorted((CHART / "crds").glob("*.yaml"))}
    resources = ["kalends.yaml", *(name.removeprefix("base/") for name in crds)]
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
    found = {name: _HEAD + yaml.safe_dump_all(objects, sort_keys=False, width=140) for name, objects in files.items()}
    return found | crds | {"base/kustomization.yaml": _HEAD + yaml.safe_dump(kustomization, sort_keys=False)}


_PLACES = {
    "NetworkPolicy": "components/networkpolicy/policies.yaml",
    "PodMonitor": "components/monitoring/monitoring.yaml",
    "PrometheusRule": "components/monitoring/monitoring.yaml",
    "Dashboard": "components/monitoring/monitoring.yaml",
}


def _part(one: dict[str, Any]) -> str:
    dashboard = one["kind"] == "ConfigMap" and one["metadata"]["name"].endswith("-dashboard")
    return "Dashboard" if dashboard else str(one["kind"])


def _component(one: dict[str, Any]) -> str:
    return str(one["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


_HEAD = "# generated by `make chart` from charts/kalends and k8s/values.yaml\n"


def _without_helm(one: Any) -> None:
    if isinstance(one, dict):
        if one.get("app.kubernetes.io/managed-by") == "Helm":
            one["app.kubernetes.io/managed-by"] = "kustomize"
            one.pop("helm.sh/chart", None)
        for value in one.values():
            _without_helm(value)
    elif isinstance(one, list):
        for value in one:
            _without_helm(value)


def operator_rules() -> str:
    """What the operator may do, as its own table says."""
    from kalends_operator import rbac

    return rbac.yaml({"watched": rbac.rules("watched"), "own": rbac.rules("own")})


def generated() -> dict[Path, str]:
    """Every generated file but the renders, and what is in it today."""
    return {
        CHART / "values.schema.json": values_schema(),
        CHART / "files" / "routes.conf": gateway.render(),
        CHART / "files" / "operator-rules.yaml": operator_rules(),
        CHART.parent / "images.txt": images(),
    }


def main() -> int:
    """Write all of it; the renders last, since they read the rest."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    for name, text in base().items():
        path = ROOT / "k8s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
