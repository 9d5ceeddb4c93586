"""Settings of the operator: ``KALENDS_OPERATOR_*`` variables, each with its unit and its default.

Belongs here: what can be set. Does not belong here: reading a setting anywhere else than from an argument. A newcomer would get wrong:
``url`` and ``nats_url`` are written into Secrets, for pods; the operator itself talks to ``admin_url``, which may be another name of it.
"""

import types
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from kalends.domain.errors import Misconfigured

PREFIX = "KALENDS_OPERATOR_"


class OperatorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator needs to know; lists are separated by commas."""

    url: Annotated[str, Meta(min_length=1, description="URL of Kalends' HTTP API, as pods reach it; written into Secrets.")]
    token_file: Annotated[str, Meta(min_length=1, description="File with an admin token of all memories; read again when it changes.")]
    admin_url: Annotated[str, Meta(description="URL of the HTTP API as the operator reaches it; empty: url.")] = ""
    nats_url: Annotated[str, Meta(description="URL of NATS, as pods reach it; written into Secrets; empty: pods use HTTP only.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign Kalends'; also written into Secrets as ca.crt.")] = ""
    tenant: Annotated[str, Meta(min_length=1, description="Tenant of the admin token.")] = "local"
    cluster: Annotated[
        str, Meta(description="Name of this cluster where several share one Kalends; part of what a memory says of whose it is.")
    ] = ""
    admin_namespaces: Annotated[
        tuple[str, ...], Meta(description="Namespaces whose resources may back up all memories, and restore whatever backup they name.")
    ] = ()
    namespaces: Annotated[tuple[str, ...], Meta(description="Namespaces that are watched; empty: all.")] = ()
    lease_name: Annotated[str, Meta(min_length=1, description="Name of the Lease that the acting operator holds.")] = "kalends-operator"
    lease_namespace: Annotated[str, Meta(min_length=1, description="Namespace of the Lease.")] = "kalends"
    lease_s: Annotated[int, Meta(ge=3, le=300, description="How long the Lease lasts without being renewed, in seconds.")] = 15
    resync_s: Annotated[float, Meta(ge=1, description="How often each resource is looked at again, in seconds; a tenth more or less.")] = (
        60.0
    )
    poll_s: Annotated[float, Meta(gt=0, description="How often what is under way is looked at, in seconds.")] = 3.0
    abandon_after_s: Annotated[
        int,
        Meta(
            ge=0,
            description="How long after its deletion a resource may be let go by the annotation memory.kalends.dev/abandon, in seconds.",
        ),
    ] = 3600
    credentials_cache_s: Annotated[float, Meta(ge=0, description="How long a list of all credentials is believed, in seconds.")] = 15.0
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one question to Kalends or to the API server, in seconds.")] = 15.0
    metrics_host: Annotated[str, Meta(description="Address on which /livez and /metrics are served.")] = "0.0.0.0"  # noqa: S104 - inside of a pod
    metrics_port: Annotated[int, Meta(ge=0, le=65_535, description="Port of /livez and /metrics; 0 takes a free one.")] = 7421
    parallel: Annotated[int, Meta(ge=1, le=256, description="How many resources are worked on at once.")] = 16

    @property
    def reached(self) -> str:
        """Where the operator talks to Kalends."""
        return self.admin_url or self.url


def load(environment: Mapping[str, str]) -> OperatorSettings:
    """The settings that *environment* gives.

    Raises:
        Misconfigured: a variable that is not known, is missing, or cannot be; its value is not said.
    """
    kinds = {one.name: one.type for one in msgspec.structs.fields(OperatorSettings)}
    given: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX):
            field = name.removeprefix(PREFIX).lower()
            given[field] = [one.strip() for one in value.split(",") if one.strip()] if _is_list(kinds.get(field)) else value
    try:
        return msgspec.convert(given, OperatorSettings, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{PREFIX}*: {error}") from error


def table() -> list[tuple[str, str, str]]:
    """Every setting as (variable, default, description)."""
    rows = []
    for one in msgspec.structs.fields(OperatorSettings):
        meta = next((each for each in getattr(one.type, "__metadata__", ()) if isinstance(each, Meta)), None)
        default = "" if one.required else repr(one.default)
        rows.append((f"{PREFIX}{one.name}".upper(), default, (meta.description if meta is not None else "") or ""))
    return rows


def _is_list(kind: Any) -> bool:
    inner = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(inner) is tuple or isinstance(inner, types.GenericAlias)
