"""Specs of resources in the planners' words: the CRD's own structs, read and turned into what Kalends calls things.

Belongs here: translation, defaults that need more than one field. Does not belong here: rules; the API server has checked them. A newcomer
would get wrong: a resource that breaks a rule all the same (a CRD of another version) is ``Invalid``, and nothing of it is acted on.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from kalends.domain.errors import Invalid
from kalends_operator.cluster import Object
from kalends_operator.crds.memories import Actions, AgentMemorySpec, Redaction, Retention
from kalends_operator.desired import naming
from kalends_operator.desired.memories import MemorySpec

T = TypeVar("T")


def read(resource: Object, kind: type[T]) -> T:
    """The spec of *resource*.

    Raises:
        Invalid: it is not what the CRD says.
    """
    try:
        return msgspec.convert(resource.get("spec") or {}, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"the spec is none: {error}") from error


def memory(resource: Object, *, cluster: str) -> MemorySpec:
    """An AgentMemory.

    Raises:
        Invalid: it is not what the CRD says, or there is no name for the memory.
    """
    spec, meta = read(resource, AgentMemorySpec), resource["metadata"]
    notes: Mapping[str, str] = meta.get("annotations") or {}
    name = naming.memory_of(meta["name"], spec.memory)
    claim = naming.claim(cluster=cluster, namespace=meta["namespace"], name=meta["name"])
    access = spec.access
    return MemorySpec(
        memory=name,
        secret=naming.secret_of(meta["name"], access.secret_name or ""),
        claim=claim,
        label=naming.label_of(meta["uid"], spec.agent_id or ""),
        isolation=spec.isolation,
        description=naming.described(spec.description, claim),
        quota={} if spec.quota is None else _given(spec.quota),
        redaction={} if spec.redaction is None else _redaction(spec.redaction),
        retention=None if spec.retention is None else _retention(spec.retention),
        role=access.role,
        overlap_s=access.token_overlap_seconds,
        rotate_every=timedelta(days=access.rotate_every_days),
        rotate_wish=notes.get(naming.ROTATE, ""),
        hand_over_to="" if spec.hand_over_to is None else spec.hand_over_to.to,
        hand_over_reason="request" if spec.hand_over_to is None else spec.hand_over_to.reason,
        deletion_policy=spec.deletion_policy,
        service_accounts=access.service_accounts,
        models={} if spec.models is None else _given(spec.models),
        backup=None if spec.backup is None else (spec.backup.schedule, spec.backup.keep),
    )


def _given(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}


def _retention(spec: Retention) -> dict[str, Any]:
    return {
        "max_age_days": spec.max_age_days,
        "max_events": spec.max_events,
        "kinds": {kind: _given(rule) for kind, rule in spec.kinds.items()},
        "pinned_kinds": list(spec.pinned_kinds),
        "session_only": spec.session_only,
    }


def _redaction(spec: Redaction) -> dict[str, Any]:
    kinds = {kind: _actions(actions) for kind, actions in spec.kinds.items()}
    return {**_actions(spec.default), **({"kinds": kinds} if kinds else {})}


def _actions(actions: Actions) -> dict[str, str]:
    """What is done, by category; ``leave`` is Kalends' ``off``."""
    return {category: "off" if action == "leave" else action for category, action in _given(actions).items()}
