"""Settings of trust: the key-encryption keys, and TLS.

Belongs here: these groups of the tree. Does not belong here: who may do what (``identities``). A newcomer would get wrong: each secret is
named by the path of its file and never given as a value.
"""

from typing import Annotated

from msgspec import Meta, Struct


class KeysSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the key-encryption keys are; ``auth.key_file`` names the key file."""

    kind: Annotated[
        str, Meta(pattern="^(file|folder|vault)$", description="Keeper of the key-encryption keys: file, folder (a mounted Secret), vault.")
    ] = "file"
    folder: Annotated[
        str, Meta(description="Folder with a file for each version, if kind is folder; the file `current` or the highest number wraps.")
    ] = ""
    reload_s: Annotated[float, Meta(gt=0, description="How often a newer key-encryption key is looked for, in seconds.")] = 10.0
    vault_url: Annotated[str, Meta(description="Vault, e.g. https://vault:8200, if kind is vault.")] = ""
    vault_mount: Annotated[str, Meta(pattern="^[A-Za-z0-9_./-]*$", description="Mount of Vault's transit engine.")] = "transit"
    vault_key: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]*$", description="Name of the key in the transit engine.")] = "kalends"
    vault_namespace: Annotated[str, Meta(description="Vault's namespace, if it has any.")] = ""
    vault_token_file: Annotated[str, Meta(description="File with Vault's token; empty: log in with Kubernetes.")] = ""
    vault_role: Annotated[str, Meta(description="Role of Vault's Kubernetes login, if there is no token file.")] = ""
    vault_login: Annotated[str, Meta(pattern="^[A-Za-z0-9_./-]*$", description="Mount of Vault's Kubernetes login.")] = "kubernetes"
    vault_jwt_file: Annotated[str, Meta(description="File with the service-account token for Vault's Kubernetes login.")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    vault_ca_file: Annotated[str, Meta(description="File with the certificates that sign Vault's; empty: those of the system.")] = ""
    vault_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one call to Vault, in seconds.")] = 5.0


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS 1.3 on our own listeners; older versions are refused, always."""

    certificate_file: Annotated[str, Meta(description="File with our certificate and those between it and the CA; empty: no TLS.")] = ""
    key_file: Annotated[str, Meta(description="File with the certificate's key, mode 0600 or 0400.")] = ""
    client_ca_file: Annotated[str, Meta(description="File with the CA that signs clients' certificates; if set, the API wants one.")] = ""
    ca_file: Annotated[
        str, Meta(description="File with the CA that signs our certificate, for clients on this machine and for a NATS of our own.")
    ] = ""
    reload_s: Annotated[float, Meta(gt=0, description="How often the files are looked at for newer ones, in seconds.")] = 10.0
    allow_plain: Annotated[bool, Meta(description="Whether listeners without TLS may be on another address than loopback.")] = False
