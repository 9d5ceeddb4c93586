"""Identities that others issue: signed tokens (JWT) of OpenID issuers, and service accounts of Kubernetes.

Belongs here: fetching keys, checking signatures and claims, asking an API server. Does not belong here: tokens of ours (``edge.auth``). A
newcomer would get wrong: which keys and which algorithm count is decided by the settings and the key set, never by the token itself.
"""

from kalends.adapters.oidc.identities import SignedIdentities, open_identities

__all__ = ["SignedIdentities", "open_identities"]
