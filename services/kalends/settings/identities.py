"""Settings of identities that others issue: OpenID issuers, and the cluster's service accounts.

A newcomer would get wrong: nothing is trusted by default, and an issuer without an audience cannot be written down: its tokens for any
other service would open this one.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
RoleOrRight = Literal["reader", "writer", "curator", "admin", "append", "search", "erase"]


class IssuerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer of tokens (JWT), and what its tokens mean here."""

    issuer: Annotated[str, Meta(min_length=1, description="The claim `iss`, to the letter.")]
    audience: Annotated[str, Meta(min_length=1, description="What the claim `aud` must name.")]
    jwks_url: Annotated[str, Meta(description="Where its keys are; empty, and no file: where its discovery document says.")] = ""
    jwks_file: Annotated[str, Meta(description="File with its keys, read again after refresh_s and for an unknown key.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign its server's; empty: those of the system.")] = ""
    token_file: Annotated[str, Meta(description="File with a bearer token that its server wants from us, read for each request.")] = ""
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, description="Signatures that are accepted.")] = (
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
    )
    tenant: Annotated[str, Meta(description="The tenant of all its tokens; or else tenant_claim.")] = ""
    tenant_claim: Annotated[str, Meta(description="The claim that names the tenant.")] = ""
    tenants: Annotated[tuple[str, ...], Meta(description="The tenants that tenant_claim may name; empty: any.")] = ()
    memories: Annotated[tuple[str, ...], Meta(description="Memories of all its tokens; `*`: all of the tenant's.")] = ()
    memories_claim: Annotated[str, Meta(description="The claim that names memories: a list, or a text with blanks.")] = ""
    rights: Annotated[tuple[RoleOrRight, ...], Meta(description="Roles or rights of all its tokens.")] = ()
    rights_claim: Annotated[str, Meta(description="The claim that names roles or rights, by rights_map if that is given.")] = ""
    rights_map: Annotated[dict[str, RoleOrRight], Meta(description="From what rights_claim says to a role or a right.")] = {}
    labels: Annotated[tuple[str, ...], Meta(description="Labels that all its tokens may see; `*`: all.")] = ()
    labels_claim: Annotated[str, Meta(description="The claim that names labels: a list, or a text with blanks.")] = ""
    leeway_s: Annotated[int, Meta(ge=0, le=300, description="How far its clock may be off, in seconds.")] = 30
    max_age_s: Annotated[int, Meta(ge=60, description="How long after `iat` a token may be used, in seconds.")] = 86_400


class OidcSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of OpenID issuers. In `config.toml` each is an `[[oidc.issuers]]`; in the environment they are a JSON list."""

    issuers: Annotated[
        tuple[IssuerSettings, ...],
        Meta(
            description="Each: issuer, audience; jwks_url, jwks_file or neither; ca_file, token_file, algorithms; tenant or tenant_claim "
            "and tenants; memories, memories_claim; rights, rights_claim, rights_map; labels, labels_claim; leeway_s, max_age_s."
        ),
    ] = ()
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one request for keys, in seconds.")] = 5.0
    refresh_s: Annotated[int, Meta(ge=10, description="Age after which keys are fetched again, in seconds.")] = 300
    pause_s: Annotated[int, Meta(ge=1, description="Least time between two requests for keys, in seconds, also for unknown ones.")] = 10
    keep_s: Annotated[int, Meta(ge=60, description="How long keys serve while their issuer is away, in seconds.")] = 86_400


class WorkloadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service account, or every one of a group, may do."""

    subject: Annotated[
        str, Meta(min_length=1, description="`system:serviceaccount:<namespace>:<name>`, or a group: `system:serviceaccounts:<namespace>`.")
    ]
    tenant: Annotated[str, Meta(min_length=1, description="Its tenant.")]
    memories: Annotated[tuple[str, ...], Meta(description="Its memories; `*`: all of the tenant's.")]
    rights: Annotated[tuple[RoleOrRight, ...], Meta(description="Its roles or rights.")]
    labels: Annotated[tuple[str, ...], Meta(description="Labels that it may see; `*`: all.")] = ()


class KubernetesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Service-account tokens of a Kubernetes cluster."""

    url: Annotated[str, Meta(description="API server, e.g. https://kubernetes.default.svc; empty: no service accounts.")] = ""
    check: Annotated[
        str,
        Meta(
            pattern="^(review|jwks)$",
            description="`review`: ask the API server of each new token (TokenReview); `jwks`: fetch its keys.",
        ),
    ] = "review"
    issuer: Annotated[str, Meta(min_length=1, description="The claim `iss` of its tokens.")] = (
        "https://kubernetes.default.svc.cluster.local"
    )
    audience: Annotated[str, Meta(min_length=1, description="The audience that pods project their tokens for.")] = "kalends"
    ca_file: Annotated[str, Meta(description="File with the certificates that sign the API server's.")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    )
    token_file: Annotated[str, Meta(description="File with our own token for the API server, read for each request.")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
    )
    workloads: Annotated[
        tuple[WorkloadSettings, ...], Meta(description="Each: subject, tenant, memories, rights, labels; what names several adds up.")
    ] = ()
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one request to the API server, in seconds.")] = 5.0
    cache_s: Annotated[int, Meta(ge=0, le=300, description="How long a reviewed token is taken as good, in seconds.")] = 30
    concurrency: Annotated[int, Meta(ge=1, le=64, description="Reviews at once.")] = 8


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Agents that log in with a signature of their key."""

    nonce_s: Annotated[int, Meta(ge=5, le=600, description="How long a nonce can be signed, in seconds.")] = 60
    session_s: Annotated[int, Meta(ge=60, le=86_400, description="How long the bearer that a signature gives is valid, in seconds.")] = 900
