"""The CRDs as manifests: ``python -m kalends_operator.crds FOLDER`` writes a file for each.

Belongs here: what is around the schemas, and the bytes of the files. Does not belong here: a rule or a field. A newcomer would get wrong:
the files are what Helm installs and what the upgrade hook applies, so nobody edits them, and a test compares them with the model.
"""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kalends_operator.crds.resources import CATEGORY, GROUP, RESOURCES, VERSION, Column, Resource
from kalends_operator.crds.schemas import Schema, schema_of

_HEAD = "# Made by `make crds` from operator/kalends_operator/crds; change it there.\n"
_ABOUT = {
    "AgentMemory": "A memory for an agent in Kalends, with its credentials in a Secret.",
    "MemoryBackup": "One backup of a memory, or of all of them.",
    "MemoryBackupSchedule": "Backups again and again.",
    "MemoryRestore": "A memory made from a backup.",
    "MemoryErasure": "Something in a memory is forgotten for good, with a signed receipt.",
}


def write(folder: Path) -> None:
    """Write the file of each CRD, and remove those of CRDs that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = rendered()
    for path in folder.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def rendered() -> Mapping[str, str]:
    """The text of each CRD, by the name of its file."""
    return {f"{resource.plural}.yaml": _HEAD + _yaml(manifest(resource)) for resource in RESOURCES}


def manifest(resource: Resource) -> dict[str, Any]:
    """The CRD of *resource*, as Kubernetes takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in resource.columns],
                    "schema": {"openAPIV3Schema": _object(resource)},
                }
            ],
        },
    }


def _object(resource: Resource) -> Schema:
    status = schema_of(resource.status)
    # a condition's type is known by whoever has it only
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    kinds = list(typing.get_args(resource.status.CONDITIONS))  # type: ignore[attr-defined]  # every status has it, which a test checks
    status["properties"]["conditions"]["items"]["properties"]["type"]["enum"] = kinds
    schema: Schema = {
        "type": "object",
        "description": _ABOUT[resource.kind],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version of this kind.", "maxLength": 63},
            "kind": {"type": "string", "description": "The kind of this object.", "maxLength": 63},
            "metadata": {"type": "object"},
            "spec": schema_of(resource.spec),
            "status": status,
        },
    }
    if resource.rules:
        schema["x-kubernetes-validations"] = [{"rule": rule.cel, "message": rule.message} for rule in resource.rules]
    return schema


def _column(column: Column) -> dict[str, Any]:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path}
    # kubectl shows what has priority 0; the others with -o wide
    return {**shown, "priority": 1} if column.wide else shown


class _Plain(yaml.SafeDumper):
    """Without anchors: no reader of a CRD expects one."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _yaml(document: Mapping[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=130, allow_unicode=True)
    return text
