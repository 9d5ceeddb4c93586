"""From the claims of a token that was found to be genuine to what it may do here.

Belongs here: the settings' mapping, applied. Does not belong here: whether a token is genuine (``identities``, ``reviews``). A newcomer
would get wrong: whoever is not mapped is refused with 401 like a forger; only somebody who is known here is told 403.
"""

from collections.abc import Collection, Mapping
from typing import Any

from kalends.adapters.oidc.failures import refused
from kalends.domain import grants
from kalends.domain.errors import Invalid, Misconfigured
from kalends.domain.grants import Grant
from kalends.domain.scope import Tenant, tenant_name
from kalends.settings import IssuerSettings, WorkloadSettings


def grant_of(claims: Mapping[str, Any], issuer: IssuerSettings) -> Grant:
    """What a token of *issuer* with these *claims* may do.

    Raises:
        Unauthenticated: it names no tenant that it may name.
    """
    tenant = issuer.tenant
    if issuer.tenant_claim:
        told = grants.claimed(claims, issuer.tenant_claim)
        tenant = told if isinstance(told, str) and (not issuer.tenants or told in issuer.tenants) else ""
    memories = set(issuer.memories)
    if issuer.memories_claim:
        memories.update(grants.names_in(grants.claimed(claims, issuer.memories_claim)))
    rights = grants.rights_of(issuer.rights)
    if issuer.rights_claim:
        rights |= grants.rights_claimed(grants.names_in(grants.claimed(claims, issuer.rights_claim)), issuer.rights_map)
    seen = set(issuer.labels)
    if issuer.labels_claim:
        seen.update(grants.names_in(grants.claimed(claims, issuer.labels_claim)))
    return Grant(tenant=_tenant(tenant), memories=grants.memories_of(memories), rights=rights, labels=grants.labels_of(seen))


def workload_grant(names: Collection[str], workloads: Collection[WorkloadSettings]) -> Grant:
    """What a service account with these *names* (its own and its groups') may do.

    Raises:
        Unauthenticated: none of its names is mapped, or they are of different tenants.
    """
    matching = [one for one in workloads if one.subject in names]
    if len({one.tenant for one in matching}) != 1:
        raise refused("subject")
    return Grant(
        tenant=_tenant(matching[0].tenant),
        memories=grants.memories_of(memory for one in matching for memory in one.memories),
        rights=grants.rights_of(right for one in matching for right in one.rights),
        labels=grants.labels_of(label for one in matching for label in one.labels),
    )


def account_names(subject: str) -> list[str]:
    """The names of the service account *subject*: its own and those of the groups that every account of its namespace is in."""
    parts = subject.split(":")
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"] or not all(parts):
        raise refused("subject")
    return [subject, "system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]


def check(issuer: IssuerSettings) -> None:
    """See that the settings say whom the tokens of *issuer* are for.

    Raises:
        Misconfigured: no tenant or two, no memories or no rights.
    """
    place = f"oidc.issuers: {issuer.issuer}"
    if bool(issuer.tenant) == bool(issuer.tenant_claim):
        raise Misconfigured(f"{place}: set tenant or tenant_claim, and not both")
    if not (issuer.memories or issuer.memories_claim):
        raise Misconfigured(f"{place}: set memories or memories_claim; `*` is all of the tenant's")
    if not (issuer.rights or issuer.rights_claim):
        raise Misconfigured(f"{place}: set rights or rights_claim")
    if issuer.tenant:
        _checked_tenant(issuer.tenant, place=place)


def check_workload(one: WorkloadSettings) -> None:
    """See that a workload's tenant has a tenant's name.

    Raises:
        Misconfigured: it has not.
    """
    _checked_tenant(one.tenant, place=f"kubernetes.workloads: {one.subject}")


def _checked_tenant(name: str, *, place: str) -> None:
    try:
        tenant_name(name)
    except Invalid as error:
        raise Misconfigured(f"{place}: the tenant {error.detail}") from error


def _tenant(name: str) -> Tenant:
    try:
        return tenant_name(name)
    except Invalid as error:
        raise refused("tenant") from error
