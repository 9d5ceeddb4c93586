"""What the operator may do in the cluster: one table, from which the chart's roles are rendered.

Belongs here: kinds, verbs and whether they are needed in each watched namespace or in the operator's own. Does not belong here: YAML of a
chart. A newcomer would get wrong: there is no list or watch of Secrets, so in namespaced mode the operator cannot read a Secret of another
namespace and cannot look for any; and nothing here reaches pods, roles or CRDs.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any, Literal

from kalends_operator.desired.naming import GROUP

Where = Literal["watched", "own"]

_KINDS = ("agentmemories", "memorybackups", "memorybackupschedules", "memoryrestores", "memoryerasures")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Verbs on resources of one group; ``watched``: in every namespace that is watched (all: a ClusterRole), ``own``: in the operator's.

    ``why`` says what would break without it.
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    where: Where
    why: str

    def manifest(self) -> dict[str, Any]:
        """The rule as a Role has it."""
        return {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}


RULES: tuple[Rule, ...] = (
    Rule(
        group=GROUP,
        resources=_KINDS,
        verbs=("get", "list", "watch", "patch"),
        where="watched",
        why="to follow what is asked for; patch is for finalizers and the annotations of progress",
    ),
    Rule(group=GROUP, resources=tuple(f"{kind}/status" for kind in _KINDS), verbs=("patch",), where="watched", why="to say how it stands"),
    Rule(
        group=GROUP,
        resources=("memorybackups",),
        verbs=("create", "delete"),
        where="watched",
        why="a schedule makes backups, and takes away those beyond the number to keep",
    ),
    Rule(
        group=GROUP,
        resources=("memorybackupschedules",),
        verbs=("create", "delete"),
        where="watched",
        why="an AgentMemory that asks for backups gets a schedule of its own, and loses it when it asks no more",
    ),
    Rule(
        group="",
        resources=("secrets",),
        verbs=("get", "create", "patch", "delete"),
        where="watched",
        why="to write an agent's Secret, see that it is as it was, and take it away; applying a new one needs create",
    ),
    Rule(group="", resources=("events",), verbs=("create",), where="watched", why="to tell of transitions"),
    Rule(
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("get", "create", "update"),
        where="own",
        why="so that two operators never act at once",
    ),
)


def rules(where: Where) -> list[dict[str, Any]]:
    """The rules of one place, as a Role or a ClusterRole has them."""
    return [rule.manifest() for rule in RULES if rule.where == where]


def role(*, name: str, namespace: str | None, where: Where) -> dict[str, Any]:
    """A Role of *namespace*; None: a ClusterRole."""
    metadata: dict[str, str] = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    kind = "ClusterRole" if namespace is None else "Role"
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules(where)}


def yaml(value: Any, *, indent: int = 0) -> str:
    """*value* (lists, mappings, texts) as YAML of the plainest form."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(f"{pad}{key}:{_member(one, indent)}" for key, one in value.items())
    lines = []
    for one in value:
        if isinstance(one, dict):
            block = yaml(one, indent=indent + 1)
            lines.append(f"{pad}- {block[len(pad) + 2 :]}")
        else:
            lines.append(f"{pad}- {json.dumps(one)}\n")
    return "".join(lines)


def _member(value: Any, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return f" {json.dumps(value)}\n"
        return "\n" + yaml(value, indent=indent + 1)
    return f" {json.dumps(value)}\n"


def main() -> int:
    """Print the rules: ``watched:`` and ``own:``."""
    sys.stdout.write(yaml({"watched": rules("watched"), "own": rules("own")}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
