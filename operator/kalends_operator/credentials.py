"""The Secret of an AgentMemory: what is in it, and whether it is as it was written.

Belongs here: its keys and annotations, written and read. Does not belong here: when it is written (``desired.memories``). A newcomer would
get wrong: keys that somebody else added are none of ours, and are neither looked at nor taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kalends.domain.scope import token as subject_token
from kalends.kit import nkeys
from kalends_operator.cluster import owner_uids
from kalends_operator.desired import naming
from kalends_operator.desired.conditions import moment, stamp
from kalends_operator.desired.memories import MemorySpec
from kalends_operator.desired.seen import SeenSecret
from kalends_operator.desired.steps import WriteSecret
from kalends_operator.settings import OperatorSettings

TOKEN, SEED = "token", "nkey_seed"
KEYS = ("url", "nats_url", "memory", "tenant", "subject_prefix", "inbox_prefix", "ca.crt", TOKEN, SEED)
SUBJECTS = "kalends.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A token and an agent's key, with their ids."""

    token_id: str = ""
    token: str = field(default="", repr=False)
    agent_id: str = ""
    seed: str = field(default="", repr=False)


def subject_prefix(spec: MemorySpec, settings: OperatorSettings) -> str:
    """What the subjects of the memory's calls begin with."""
    return f"{SUBJECTS}.{subject_token(settings.tenant)}.{subject_token(spec.memory)}"


def connection(spec: MemorySpec, settings: OperatorSettings, *, agent_id: str, ca: str) -> dict[str, str]:
    """What a pod needs to know besides its secrets; what is not there is left out."""
    said = {
        "url": settings.url,
        "nats_url": settings.nats_url,
        "memory": spec.memory,
        "tenant": settings.tenant,
        "subject_prefix": subject_prefix(spec, settings),
        "inbox_prefix": f"_INBOX_{agent_id}" if agent_id else "",
        "ca.crt": ca,
    }
    return {key: value for key, value in said.items() if value}


def read(found: Mapping[str, Any], *, uid: str) -> tuple[SeenSecret, dict[str, str]]:
    """A Secret as planners see it but for ``current``, and our keys of it; one of somebody else's is not looked into."""
    if uid not in owner_uids(found):
        return SeenSecret(ours=False), {}
    data = {key: value for key, value in found["data"].items() if key in KEYS}
    notes: Mapping[str, str] = found["metadata"].get("annotations") or {}
    token_id, agent_id = notes.get(naming.TOKEN_ID, ""), notes.get(naming.AGENT_ID, "")
    seen = SeenSecret(
        ours=True,
        intact=notes.get(naming.DIGEST) == _digest(data, token_id=token_id, agent_id=agent_id),
        token_id=token_id,
        agent_id=agent_id,
        public_key=_public(data.get(SEED, "")),
        previous_tokens=_ids(notes, naming.PREVIOUS_TOKENS),
        previous_agents=_ids(notes, naming.PREVIOUS_AGENTS),
        previous_until=moment(notes.get(naming.PREVIOUS_UNTIL)),
        rotated_at=moment(notes.get(naming.ROTATED_AT)),
        rotate_seen=notes.get(naming.ROTATE_SEEN, ""),
    )
    return seen, data


def written(
    step: WriteSecret, spec: MemorySpec, settings: OperatorSettings, *, pair: Pair, ca: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Data and annotations of the Secret that *step* wants."""
    data = connection(spec, settings, agent_id=pair.agent_id, ca=ca)
    data |= {key: value for key, value in ((TOKEN, pair.token), (SEED, pair.seed)) if value}
    due = None if spec.rotate_every is None or step.rotated_at is None else step.rotated_at + spec.rotate_every
    notes = {
        naming.TOKEN_ID: pair.token_id,
        naming.AGENT_ID: pair.agent_id,
        naming.PREVIOUS_TOKENS: ",".join(step.previous_tokens),
        naming.PREVIOUS_AGENTS: ",".join(step.previous_agents),
        naming.PREVIOUS_UNTIL: _stamp(step.previous_until),
        naming.ROTATED_AT: _stamp(step.rotated_at),
        naming.ROTATES_AT: _stamp(due),
        naming.ROTATE_SEEN: spec.rotate_wish,
        naming.DIGEST: _digest(data, token_id=pair.token_id, agent_id=pair.agent_id),
    }
    return data, {key: value for key, value in notes.items() if value}


def _public(seed: str) -> str:
    try:
        return nkeys.pair_of(seed).public if seed else ""
    except ValueError:
        return ""


def _digest(data: Mapping[str, str], *, token_id: str, agent_id: str) -> str:
    return naming.digest_of({**data, naming.TOKEN_ID: token_id, naming.AGENT_ID: agent_id})


def _ids(notes: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(one for one in notes.get(key, "").split(",") if one)


def _stamp(at: datetime | None) -> str:
    return "" if at is None else stamp(at)
